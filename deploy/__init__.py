"""Ways to run Edgedesk: the installer of a release, systemd units, container, Kubernetes and compose files.

make_app           head office: the `app` part of a release
install.sh         what a branch runs from a stick
systemd/           unit templates
"""
