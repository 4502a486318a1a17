#!/bin/sh
# Install Edgedesk on a branch machine from this folder: no network, no compiler, nothing but Python 3.11 to 3.13.
#
#   sh install.sh              as yourself: below ~/.local, with a service of yours
#   sudo sh install.sh         for the machine: below /opt and /var/lib, with a hardened system service
#   sh install.sh --check      look only: what would keep an installation from succeeding
#
#   --home DIR       the branch's folder (default /var/lib/edgedesk, or ~/.local/share/edgedesk)
#   --prefix DIR     where the program goes (default /opt/edgedesk, or ~/.local/share/edgedesk-app)
#   --bin DIR        where the command edgedesk goes (default /usr/local/bin, or ~/.local/bin)
#   --root FILE      the company's root.json, to compare the release's with (docs/reference/bundle.md)
#   --run-as USER    as root: the account that owns the branch's folder and runs the service (default edgedesk)
#   --python FILE    the Python to use
#   --program-only   no bundle and no service: what a container image holds
#   --no-service     install no service; start it with: edgedesk serve
#   --no-compile     leave compiling articles to the server's idle time
#
# Run it again at any time: what is there and whole is kept, what was cut short is done again.
# Exit codes: 0 done, 1 failed, 2 wrong use, 3 not for this machine, 4 disk full, 5 something missing, 6 damaged files,
# 10 another installer is at work, 130 interrupted; others are those of `edgedesk`.
#
# Everything this script runs hangs on the number below, so whoever trusts this file's SHA-256 trusts them all: compare
# `sha256sum install.sh` with the number that head office published.
set -eu
LIST_SHA256=@LIST_SHA256@
SECTIONS_S=60 # for compiling articles; the server does the rest while it is idle

say() { printf '%s\n' "$*" >&2; }
# die CODE WHAT CURE: one sentence, one cure, one exit code.
die() {
    say "error: $2"
    say "  hint: $3"
    exit "$1"
}
step() {
    number=$((number + 1))
    say "[$number/$steps] $*"
}
usage() { sed -n '2,/^# Exit codes/p' "$script" | sed '$d; s/^# \{0,1\}//'; }

number=0 steps=6 script=$0
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd -P)
home='' prefix='' bin='' root='' account='' python='' service=yes compile=yes check=no program_only=no

while [ $# -gt 0 ]; do
    case $1 in
        --home | --prefix | --bin | --root | --run-as | --python)
            [ $# -ge 2 ] || die 2 "$1 needs a value" "sh install.sh --help"
            case $1 in
                --home) home=$2 ;;
                --prefix) prefix=$2 ;;
                --bin) bin=$2 ;;
                --root) root=$2 ;;
                --run-as) account=$2 ;;
                --python) python=$2 ;;
            esac
            shift
            ;;
        --program-only) program_only=yes steps=1 ;;
        --no-service) service=no ;;
        --no-compile) compile=no ;;
        --check) check=yes ;;
        -h | --help)
            usage
            exit 0
            ;;
        *) die 2 "unknown option '$1'" "sh install.sh --help" ;;
    esac
    shift
done

# Nothing of the caller's Python or pip steers what is installed, and nobody else may read what is.
unset PYTHONPATH PYTHONHOME PYTHONSTARTUP PIP_FIND_LINKS PIP_INDEX_URL PIP_EXTRA_INDEX_URL PIP_TARGET PIP_PREFIX
export PYTHONNOUSERSITE=1 PYTHONSAFEPATH=1 PIP_CONFIG_FILE=/dev/null LC_ALL=C.UTF-8
umask 022

uid=$(id -u)
if [ "$uid" = 0 ]; then
    : "${account:=edgedesk}" "${home:=/var/lib/edgedesk}" "${prefix:=/opt/edgedesk}" "${bin:=/usr/local/bin}"
    # A user of root's own choice may be root itself, as in a container.
    [ "$account" != root ] || account=''
else
    [ -z "$account" ] || die 2 "--run-as is for root" "sudo sh install.sh --run-as $account"
    data=${XDG_DATA_HOME:-${HOME:?}/.local/share}
    : "${home:=$data/edgedesk}" "${prefix:=$data/edgedesk-app}" "${bin:=$HOME/.local/bin}"
fi
link=$bin/edgedesk
for folder in "$home" "$prefix"; do
    case $folder in
        /*) ;;
        *) die 2 "'$folder' is not an absolute path" "give it as it begins with /" ;;
    esac
    case $folder in
        *[!A-Za-z0-9/._@+-]*) die 2 "'$folder' has characters that a service's unit cannot hold" \
            "use letters, digits and . _ - + @ in --home and --prefix" ;;
    esac
done

# --- what would keep it from succeeding -------------------------------------------------------------------------------

check_machine() {
    [ "$(uname -s)" = Linux ] || die 3 "this is $(uname -s), and the release is for Linux" "use a Linux machine"
    [ "$(uname -m)" = x86_64 ] ||
        die 3 "this machine is $(uname -m), and the release is for x86_64" "ask head office for a release for $(uname -m)"
    for tool in flock sha256sum awk sed df mktemp; do
        command -v "$tool" >/dev/null 2>&1 || die 5 "the command $tool is missing" "apt-get install util-linux coreutils mawk"
    done
}

# A Python of the right age with its standard library; ensurepip is not needed, since pip comes along as a wheel.
find_python() {
    found='' old='' broken=''
    if [ -n "$python" ]; then set -- "$python"; else set -- python3 python3.13 python3.12 python3.11; fi
    for candidate; do
        path=$(command -v "$candidate" 2>/dev/null) || continue
        version=$("$path" -I -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null) || continue
        case $version in
            3.11 | 3.12 | 3.13) ;;
            *)
                old="$path is Python $version"
                continue
                ;;
        esac
        # Debian's python3-minimal has no venv; a libc that is too old ends here as well.
        if "$path" -I -c 'import venv, zipfile, hashlib, sqlite3, ssl, ctypes, lzma' 2>/dev/null; then
            found=$path
            break
        fi
        broken="$path (Python $version) lacks parts of the standard library"
    done
    if [ -z "$found" ]; then
        [ -z "$broken" ] || die 5 "$broken" "apt-get install python3 (python3-minimal is not enough)"
        [ -z "$old" ] || die 5 "$old; Python 3.11, 3.12 or 3.13 is needed" "apt-get install python3.11, or --python FILE"
        die 5 "no Python 3.11, 3.12 or 3.13" "apt-get install python3, or --python FILE"
    fi
    python=$found
    tag=cp$(echo "$version" | tr -d .)
    glibc=$("$python" -I -c 'import os; print(os.confstr("CS_GNU_LIBC_VERSION").split()[1])' 2>/dev/null) ||
        die 3 "this system's C library is not glibc (musl?), and the release is for glibc" "use Debian 12 or newer"
    [ "$(printf '%s\n2.34\n' "$glibc" | sort -V | head -n 1)" = 2.34 ] ||
        die 3 "glibc $glibc is too old; 2.34 is needed" "use Debian 12 or newer"
}

# The list of the app's files: beside this script, or in a signed release under its own SHA-256.
find_app() {
    app=$here/app
    list=$app/SHA256SUMS
    if [ ! -f "$list" ]; then
        app=$here/targets/app
        list=$app/$LIST_SHA256.SHA256SUMS
    fi
    [ -f "$list" ] || die 5 "$here holds no Edgedesk to install" "copy the whole release folder, not install.sh alone"
    [ "$(sha256sum <"$list" | cut -d' ' -f1)" = "$LIST_SHA256" ] ||
        die 6 "$list is not what this install.sh was made with" "copy the release again, from head office"
    if [ "$program_only" = yes ]; then
        source='' home=$prefix
    elif [ -d "$here/metadata" ]; then
        source=$here
    else
        source=$here/bundle
        [ -d "$source" ] || die 5 "$here holds no bundle" "copy the whole release folder"
        # edgedesk refuses it as well, but only once the program is installed.
        [ -z "$root" ] || die 6 "$source is a plain bundle, which nobody has signed, and --root asks for a signed release" \
            "ask head office for a signed release"
    fi
}

# The nearest folder that exists: whose disk and whose owner count.
above() {
    there=$1
    while [ ! -d "$there" ]; do there=$(dirname "$there"); done
    printf '%s\n' "$there"
}

check_folders() {
    for folder in "$home" "$prefix"; do
        [ ! -e "$folder" ] || [ -d "$folder" ] || die 2 "$folder is not a folder" "move it away, or choose another place"
        [ -w "$(above "$folder")" ] ||
            die 2 "$(id -un) may not write to $(above "$folder")" "use --home and --prefix, or run it with sudo"
    done
    if [ -d "$home" ] && [ "$program_only" = no ]; then
        owner=$(stat -c %U "$home")
        wanted=${account:-$(id -un)}
        [ "$owner" = "$wanted" ] ||
            die 2 "$home belongs to $owner, not to $wanted" "sudo sh install.sh --run-as $owner, or choose another --home"
    fi
    need_app=0
    unpacked=$(sed -n 's/^# unpacked-bytes: //p' "$list")
    need=0
    if [ "$program_only" = no ]; then
        content=$(du -sk "$source" 2>/dev/null | cut -f1)
        need=$(((content * 5 / 4) + 262144)) # the bundle, compiled articles, index, journal
    fi
    [ "$(cat "$prefix/current/.complete" 2>/dev/null)" = "$stamp" ] || need_app=$((unpacked * 5 / 4096)) # and bytecode
    app_there=$(above "$prefix") home_there=$(above "$home")
    if [ "$(stat -c %d "$app_there")" = "$(stat -c %d "$home_there")" ]; then
        need_space "$home_there" $((need + need_app))
    else
        need_space "$home_there" "$need"
        need_space "$app_there" "$need_app"
    fi
}

need_space() {
    free=$(df -Pk "$1" | awk 'NR == 2 { print $4 }')
    [ "$free" -ge "$2" ] ||
        die 4 "$1 has $((free / 1024)) MB free, $(($2 / 1024)) MB are needed" "free space, or use --home and --prefix"
}

check_machine
find_python
find_app
stamp="$LIST_SHA256 $tag $python"
check_folders
# The branch's part is run from / and, as root, by another account.
[ -z "$root" ] || root=$(readlink -e "$root") || die 5 "no such file as --root names" "give the path of the company's root.json"
if [ "$check" = yes ]; then
    say "nothing stands against it: $python (Python $version, glibc $glibc), program in $prefix, branch in $home"
    exit 0
fi

# --- one at a time ----------------------------------------------------------------------------------------------------

mkdir -p "$prefix"
exec 9>>"$prefix/install.lock"
flock -n 9 || die 10 "$(tail -n 1 "$prefix/install.lock") is already at work here" "wait until it is done"
# Truncated through its name, not its handle: a handle opened with > would have emptied the holder's line.
echo "install.sh (process $$)" >"$prefix/install.lock"

scratch=$(mktemp -d) ended=no
finish() {
    code=$?
    rm -rf "$scratch"
    [ "$ended" = yes ] || [ -z "${env:-}" ] || [ -e "$env/.complete" ] || rm -rf "$env"
    exit "$code"
}
interrupted() {
    say "interrupted; run it again, it continues"
    exit 130
}
trap finish EXIT
trap interrupted INT TERM HUP

if [ -n "$root" ]; then
    # The account that runs the branch may not enter the folder where root.json lies.
    cp "$root" "$scratch/root.json" || die 5 "$root cannot be read" "give the path of the company's root.json"
    chmod 711 "$scratch"
    chmod 644 "$scratch/root.json"
    root=$scratch/root.json
fi

# --- the program ------------------------------------------------------------------------------------------------------

# A release keeps files under their hashes: give them back their names, by links, so that nothing is copied.
lay_out() {
    mkdir -p "$scratch/app/wheels" "$scratch/app/systemd"
    sed -n 's/^\([0-9a-f]\{64\}\)  \([A-Za-z0-9_.+/@-]*\)$/\1 \2/p' "$list" | while read -r digest name; do
        file=$app/$name
        [ -f "$file" ] || file=$(dirname "$app/$name")/$digest.$(basename "$name")
        [ -f "$file" ] || die 5 "$name is missing in $app" "copy the release again"
        ln -s "$file" "$scratch/app/$name"
    done
    # pip checks the wheels; what is read before pip runs, pip itself included, is checked here.
    (cd "$scratch/app" && grep -v '^#' "$list" | grep -E '  (requirements\.txt|systemd/.*|wheels/pip-.*)$' >"$scratch/first" &&
        sha256sum --check --quiet --strict "$scratch/first") >&2 || die 6 "a file of $app is damaged" "copy the release again"
}

say_pip_failed() {
    last=$(tail -n 3 "$scratch/pip.log" | tr '\n' ' ')
    case $last in
        *"No space left"*) die 4 "the disk of $prefix is full" "free space and run it again" ;;
        *"DO NOT MATCH THE HASHES"*) die 6 "a wheel in $app/wheels is damaged: $last" "copy the release again" ;;
    esac
    grep -q 'DO NOT MATCH THE HASHES' "$scratch/pip.log" &&
        die 6 "$(sed -n 's/.*from \(file:[^ ]*\/\)\{0,1\}\([^/ ]*\.whl\).*/\2/p' "$scratch/pip.log" | head -n 1) is damaged" "copy the release again"
    die 1 "the packages could not be installed" "$last"
}

install_program() {
    env=$prefix/env/$(printf '%s' "$stamp" | sha256sum | cut -c1-16)
    if [ "$(cat "$env/.complete" 2>/dev/null)" = "$stamp" ] && "$env/bin/edgedesk" --version >/dev/null 2>&1; then
        say "  it is there and whole"
    else
        rm -rf "$env"
        "$python" -I -m venv --without-pip "$env" 2>"$scratch/pip.log" || say_pip_failed
        pip=$(echo "$scratch"/app/wheels/pip-*.whl)/pip
        "$env/bin/python" -I "$pip" --isolated --disable-pip-version-check --no-input install --quiet --no-index \
            --find-links "$scratch/app/wheels" --require-hashes --only-binary :all: --no-deps --no-cache-dir --no-compile \
            --requirement "$scratch/app/requirements.txt" >"$scratch/pip.log" 2>&1 || say_pip_failed
        # All cores, which pip does not use. A branch never imports what Chroma needs for clusters.
        "$env/bin/python" -I -m compileall -q -j 0 -x '/kubernetes/|/tests?/' "$env/lib" >/dev/null 2>&1 || true
        # The stamp comes last and says that everything before it is on the disk.
        sync -f "$env"
        printf '%s' "$stamp" >"$env/.complete"
        sync "$env/.complete"
    fi
    ln -sfn "env/$(basename "$env")" "$prefix/.current.new"
    mv -T "$prefix/.current.new" "$prefix/current"
    mkdir -p "$(dirname "$link")"
    if [ -L "$link" ] || [ ! -e "$link" ]; then
        ln -sfn "$prefix/current/bin/edgedesk" "$link"
    else
        say "  $link is something else and stays; call $prefix/current/bin/edgedesk"
    fi
    # The one before stays for the way back.
    find "$prefix/env" -mindepth 1 -maxdepth 1 -type d -printf '%T@ %p\n' | sort -rn | sed -n '3,$ s/^[^ ]* //p' |
        while read -r stale; do rm -rf "$stale"; done
}

# --- the branch -------------------------------------------------------------------------------------------------------

make_account() {
    [ -n "$account" ] || return 0
    id "$account" >/dev/null 2>&1 ||
        useradd --system --home-dir "$home" --no-create-home --shell /usr/sbin/nologin "$account" >/dev/null ||
        die 1 "the account $account could not be made" "make it, or use --run-as USER"
    mkdir -p "$home"
    chown "$account": "$home"
    as_account test -r "$source" ||
        die 2 "$account may not read $source" "mount the stick so that others may read it, or copy it to /var/tmp"
}

# As the account that owns the branch; the lock's handle stays here, so that a server left behind does not hold it.
as_account() {
    if [ -n "$account" ]; then
        (cd / && runuser -u "$account" -- "$@" 9>&-)
    else
        (cd / && "$@" 9>&-)
    fi
}

edgedesk() { as_account env EDGEDESK_HOME="$home" "$prefix/current/bin/edgedesk" "$@"; }

install_branch() {
    if [ -n "$root" ]; then
        edgedesk install "$source" --root "$root" >&2 || exit $?
    else
        edgedesk install "$source" >&2 || exit $?
    fi
}

compile_articles() {
    if [ "$compile" = no ]; then
        say "  left to the server"
        return
    fi
    # A running server compiles by itself, and owns the branch meanwhile.
    edgedesk knowledge compile --seconds "$SECTIONS_S" >&2 || {
        code=$?
        [ "$code" = 10 ] || exit "$code"
        say "  the running server compiles them while it is idle"
    }
}

self_test() {
    edgedesk doctor >&2 || die $? "the installation was checked and is not well" "see the lines that begin with FAIL"
}

# --- the service ------------------------------------------------------------------------------------------------------

install_service() {
    if [ "$service" = no ]; then
        say "  none; start it with: EDGEDESK_HOME=$home edgedesk serve"
        return
    fi
    if [ "$uid" = 0 ]; then
        units=/etc/systemd/system systemctl='systemctl' kind=system
    else
        units=${XDG_CONFIG_HOME:-$HOME/.config}/systemd/user systemctl='systemctl --user' kind=user
    fi
    mkdir -p "$units"
    # A branch's folder below /home has to be seen; no other folder of that kind is written.
    case $home/ in
        /home/* | /root/* | /run/user/*) protect=read-only ;;
        *) protect=yes ;;
    esac
    sed -e "/^# Template/d" -e "s|@PREFIX@|$prefix|g" -e "s|@HOME@|$home|g" -e "s|@ACCOUNT@|${account:-root}|g" \
        -e "s|@PROTECT_HOME@|$protect|g" \
        "$scratch/app/systemd/edgedesk.$kind.service" >"$scratch/unit"
    # Written beside it and renamed: systemd never reads half a unit.
    cp "$scratch/unit" "$units/.edgedesk.service.new"
    mv "$units/.edgedesk.service.new" "$units/edgedesk.service"
    if $systemctl show --property=Version >/dev/null 2>&1; then
        $systemctl daemon-reload
        $systemctl enable edgedesk.service >/dev/null 2>&1
        $systemctl restart edgedesk.service || die 1 "the service does not start" "$systemctl status edgedesk"
        if [ "$uid" != 0 ]; then
            say "  it runs while you are logged in; for longer: sudo loginctl enable-linger $(id -un)"
        fi
    else
        say "  $units/edgedesk.service is written; systemd does not run here, so start it with: EDGEDESK_HOME=$home edgedesk serve"
    fi
}

began=$(date +%s)
step "Edgedesk into $prefix"
lay_out
install_program
if [ "$program_only" = yes ]; then
    ended=yes
    exit 0
fi
step "an account and a folder for the branch: $home"
make_account
step "the bundle: verify, copy, switch, index"
install_branch
step "compile articles"
compile_articles
step "self-test"
self_test
step "the service"
install_service
ended=yes
say "done in $(($(date +%s) - began)) s; now: EDGEDESK_HOME=$home edgedesk console"
