"""Private keys in hardware: an HSM, a smartcard or a security key, reached over PKCS#11.

    KEYS/root-1a2b3c4d.token.json   the public half of a key, and the module, token and object that hold the private one

Promises: a private key that is made here is made inside the token and cannot be read out of it; a PIN is asked for when
a token is used, and written nowhere. Keys are ECDSA on P-256, or P-384 where the token has such a key already: what
securesystemslib's `HSMSigner` signs with. python-pkcs11, which is loaded at need, comes with the extra `pkcs11`.
Head office only.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import cycle
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from securesystemslib.signer import HSMSigner, Key, Signature, Signer, SSlibKey

from runtime.base.files import read_text, write_atomic
from runtime.errors import EdgedeskError, InputError, MissingError, UnavailableError, UsageError

SUFFIX = ".token.json"
Pin = Callable[[], str | None]
"""Asked for when a token is used; None when there is none."""
_MODULE = "PYKCS11LIB"
"""Where `HSMSigner` looks for the module's path."""


class TokenKeyFile(BaseModel):
    """`ROLE-KEYID.token.json`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    module: Path
    """The library of the token's maker."""
    token: str
    """The token's label."""
    object: int = Field(ge=0, lt=1 << 64)
    """The key's CKA_ID in the token."""
    keyid: str = Field(pattern=r"^[0-9a-f]{64}$")
    key: dict[str, Any]
    """The public key, as TUF writes it."""


class TokenSigner(Signer):
    """Signs with a key that a token holds."""

    def __init__(self, at: TokenKeyFile, pin: Pin) -> None:
        """`InputError` where the public key is not one that a token signs with."""
        key = Key.from_dict(at.keyid, dict(at.key))
        if not isinstance(key, SSlibKey):
            raise InputError("not a key of a token", where=at.token, hint="edgedesk keys rotate makes a new one")
        self._at, self._key, self._pin = at, key, pin

    @property
    def public_key(self) -> SSlibKey:
        """The public half."""
        return self._key

    @classmethod
    def from_priv_key_uri(cls, priv_key_uri: str, public_key: Key, secrets_handler: Any = None) -> TokenSigner:
        """Not offered: a key is named by its file (`load_token_key`)."""
        raise NotImplementedError

    def sign(self, payload: bytes) -> Signature:
        """Sign in the token; `UsageError` for a PIN that is missing or wrong, `MissingError` without token or key."""
        at = self._at
        with _using(at.module, at.token):
            return HSMSigner(at.object, self._key, lambda _: _known(self._pin), at.token).sign(payload)

    def at_hand(self) -> bool:
        """Whether the token is plugged in; `MissingError` without python-pkcs11."""
        _require_library()
        import pkcs11

        try:
            with _using(self._at.module, self._at.token):
                pkcs11.lib(str(self._at.module)).get_token(token_label=self._at.token)
        except MissingError:
            return False
        return True


class TokenKeys:
    """Makes keys in tokens, in turn: the first root key in the first, the second in the second, and so on."""

    def __init__(self, module: Path, tokens: Sequence[str], pin: Pin, existing: int | None = None) -> None:
        """`existing`: the CKA_ID of a key that the token has already, which is taken instead of a new one."""
        if not tokens:
            raise UsageError("no token is named", where="--token", hint="softhsm2-util --show-slots shows labels")
        self._module, self._pin, self._existing = module.absolute(), pin, existing
        self._first, self._roots = tokens[0], cycle(tokens)

    def __call__(self, folder: Path, role: str) -> TokenSigner:
        """Make the key of a role and write its file; root keys go round the tokens, all others into the first."""
        token = next(self._roots) if role == "root" else self._first
        with _using(self._module, token):
            if (number := self._existing) is None:
                number = _generate(self._module, token, role, _known(self._pin))
            _, key = HSMSigner.import_(number, token, lambda _: _known(self._pin))
        at = TokenKeyFile(module=self._module, token=token, object=number, keyid=key.keyid, key=key.to_dict())
        write_atomic(folder / f"{role}-{key.keyid[:8]}{SUFFIX}", at.model_dump_json(indent=1) + "\n", mode=0o600)
        return TokenSigner(at, self._pin)


def load_token_key(path: Path, pin: Pin, module: Path | None = None) -> TokenSigner:
    """The key that a file names; `module` in place of the file's own, on a machine where it lies elsewhere."""
    try:
        at = TokenKeyFile.model_validate_json(read_text(path))
        return TokenSigner(at.model_copy(update={"module": module.absolute()}) if module else at, pin)
    except (ValidationError, ValueError, KeyError, TypeError) as error:
        why = str(error).splitlines()[0][:200]
        raise InputError(f"not a token's key ({why})", where=str(path), hint="edgedesk keys init makes them") from None


def _generate(module: Path, token: str, role: str, pin: str) -> int:
    """Make a key pair in a token; its CKA_ID."""
    import pkcs11
    from pkcs11.util import biginteger
    from pkcs11.util.ec import encode_named_curve_parameters

    number = secrets.randbelow(1 << 31)
    curve = {pkcs11.Attribute.EC_PARAMS: encode_named_curve_parameters("secp256r1")}
    with pkcs11.lib(str(module)).get_token(token_label=token).open(rw=True, user_pin=pin) as session:
        parameters = session.create_domain_parameters(pkcs11.KeyType.EC, curve, local=True)
        parameters.generate_keypair(
            id=biginteger(number),
            label=f"edgedesk {role}",
            store=True,
            private_template={pkcs11.Attribute.SENSITIVE: True, pkcs11.Attribute.EXTRACTABLE: False},
        )
    return number


def _known(pin: Pin) -> str:
    if found := pin():
        return found
    raise UsageError("the token asks for a PIN", hint="set EDGEDESK_PKCS11_PIN")


def _require_library() -> None:
    try:
        import pkcs11  # noqa: F401
    except ImportError:
        raise MissingError(
            "python-pkcs11 is not installed, and a key lies in a token", hint="pip install 'edgedesk[pkcs11]'"
        ) from None


@contextmanager
def _using(module: Path, token: str) -> Iterator[None]:
    """Let `HSMSigner` find the module; what tokens and libraries say becomes one sentence of ours."""
    _require_library()
    import pkcs11.exceptions as said

    if not module.is_file():
        raise MissingError("no such PKCS#11 module", where=str(module), hint="name it with --pkcs11")
    before = os.environ.get(_MODULE)
    os.environ[_MODULE] = str(module)
    where = f"token '{token}'"
    try:
        yield
    except EdgedeskError:
        raise
    except (said.PinIncorrect, said.PinInvalid, said.PinLenRange):
        raise UsageError("the PIN is wrong", where=where, hint="EDGEDESK_PKCS11_PIN; too many tries lock it") from None
    except (said.PinLocked, said.PinExpired, said.UserPinNotInitialized) as error:
        raise UsageError(f"the PIN cannot be used ({type(error).__name__})", where=where, hint="unlock it") from None
    except (said.NoSuchToken, said.TokenNotPresent, said.NoSuchKey, ValueError) as error:
        raise MissingError(str(error) or "the token is not there", where=where, hint="plug the token in") from None
    except (said.PKCS11Error, RuntimeError) as error:
        raise UnavailableError(
            f"the token refuses ({type(error).__name__} {error})".replace(" )", ")"), where=where, hint="is it ready?"
        ) from error
    finally:
        if before is None:
            del os.environ[_MODULE]
        else:
            os.environ[_MODULE] = before
