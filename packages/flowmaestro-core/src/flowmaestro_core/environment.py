"""What the environment says of proxies and certificates, read and checked.

httpx reads the same variables. Some contents of them are exceptions there that name no
variable, and some break connections later; here each is understood, or is an error that
says which variable to change.
"""

from __future__ import annotations

import os
import re
import ssl
from typing import NamedTuple, Optional

from .config import host_problem, masked, port_number
from .errors import ConfigurationError

__all__ = ["Proxy", "certificate_error", "check_environment", "connection_hint", "proxy_for"]

# The port of a proxy whose address has none.
_PORTS = {"http": 80, "https": 443, "socks5": 1080, "socks5h": 1080}

_PROXY_HOST = re.compile(r"(?P<host>\[[^\]]*\]|[^:\[\]]*)(?::(?P<port>[0-9]*))?")


class Proxy(NamedTuple):
    """A proxy, and where it is set."""

    url: str
    # As in "HTTPS_PROXY is 'http://***@proxy:3128'", for errors.
    source: str


def proxy_for(base_url: str) -> Optional[Proxy]:
    """Give the proxy that the environment names for an address, or None.

    Args:
        base_url: The address, in the form that ``resolve_base_url`` gives.

    Raises:
        ConfigurationError: What a variable names is no proxy, or one that needs a package
            which is not installed.
    """
    from urllib.request import getproxies

    # From the system's settings as well, on macOS and Windows.
    proxies = getproxies()
    scheme, _, rest = base_url.partition("://")
    key = scheme if proxies.get(scheme) else "all"
    value = proxies.get(key)
    if not value or _is_excluded(scheme, rest.partition("/")[0], proxies.get("no", "")):
        return None
    source = f"{_variable(f'{key}_proxy')} is {masked(value)!r}"
    url, problem = _proxy_url(value)
    if problem:
        raise ConfigurationError(f"{source}, which {problem}")
    return Proxy(url, source)


def _variable(name: str) -> str:
    """Give a variable's name as it is written; small letters win, as they do for urllib."""
    if name in os.environ:
        return name
    return next(
        (known for known in os.environ if known.lower() == name),
        f"the {name} of the system's settings",
    )


def _proxy_url(value: str) -> tuple[str, str]:
    """Write a proxy's address so that httpx takes it, or say in words what is wrong."""
    from importlib.util import find_spec
    from urllib.parse import quote

    value = value.strip()
    scheme, separator, rest = value.partition("://")
    if not separator:
        scheme, rest = "http", value
    scheme = scheme.lower()
    if scheme not in _PORTS:
        return "", f"is no proxy that can be used: begin it with one of {', '.join(_PORTS)}"
    user, at, machine = rest.rpartition("@")
    match = _PROXY_HOST.fullmatch(re.split(r"[/?#]", machine, maxsplit=1)[0])
    host = match["host"].lower() if match else ""
    problem = host_problem(host)
    port = port_number(match["port"]) if match and match["port"] else _PORTS[scheme]
    if problem or not 1 <= port <= 65535:
        return "", "is no address of a proxy, such as 'http://proxy.example:3128'"
    if scheme.startswith("socks") and find_spec("socksio") is None:
        return "", "is a SOCKS proxy, for which a package is missing: pip install 'httpx[socks]'"
    # What stands for itself stays: names and passwords may hold any character.
    user = quote(user, safe="%:!$&'()*+,;=~", errors="replace")
    return f"{scheme}://{user}{at}{host}:{port}", ""


def _is_excluded(scheme: str, machine: str, no_proxy: str) -> bool:
    """True if ``NO_PROXY`` names a machine (with its port, if it has one).

    An entry may be ``*``, a name (for the names below it as well), ``.example.com`` or
    ``*.example.com`` (for those alone), an IP address or network, each with a port behind
    it or a scheme in front. What is none of these excludes nothing.
    """
    host, port = _host_and_port(machine)
    port = port or ("443" if scheme == "https" else "80")
    for entry in no_proxy.split(","):
        wanted_scheme, separator, rest = entry.strip().lower().rpartition("://")
        if separator and wanted_scheme not in (scheme, "all"):
            continue
        if rest == "*":
            return True
        name, wanted_port = _host_and_port(rest)
        if name and wanted_port in ("", port) and _is_named(host, name):
            return True
    return False


def _host_and_port(machine: str) -> tuple[str, str]:
    """Take ``[::1]:80``, ``::1``, ``name:80`` or ``10.0.0.0/8`` apart."""
    match = re.fullmatch(r"\[([^\]]*)\](?::([0-9]*))?", machine)
    if match is not None:
        return match[1], match[2] or ""
    if machine.count(":") == 1:
        name, _, port = machine.partition(":")
        return name, port
    return machine, ""


def _is_named(host: str, name: str) -> bool:
    import ipaddress

    try:
        # Of an address alone: a name is looked up by the proxy, if there is one.
        return ipaddress.ip_address(host) in ipaddress.ip_network(name, strict=False)
    except ValueError:
        pass
    suffix = name[1:] if name.startswith("*.") else name
    if suffix.startswith("."):
        return host.endswith(suffix)
    return host == suffix or host.endswith(f".{suffix}")


def check_environment(base_url: str) -> None:
    """Check what is cheap to check, when a client is made.

    Raises:
        ConfigurationError: A variable makes no sense; the message names it.
    """
    proxy = proxy_for(base_url)
    if not base_url.startswith("https://") and not (proxy and proxy.url.startswith("https://")):
        return
    file, directory = os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR")
    if file:
        if not os.path.isfile(file):
            raise ConfigurationError(f"SSL_CERT_FILE is {masked(file)!r}, where there is no file")
    elif directory and not any(map(os.path.isdir, directory.split(os.pathsep))):
        raise ConfigurationError(
            f"SSL_CERT_DIR is {masked(directory)!r}, where there is no directory"
        )


def certificate_error(problem: Exception) -> ConfigurationError:
    """Say which variable it is whose certificates, or whose log of keys, cannot be opened."""
    file, directory = os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR")
    keys = os.environ.get("SSLKEYLOGFILE")
    source = "the certificates that certifi brings cannot be read"
    if keys and not _loads(file, None if file else directory):
        keys = None
    if keys:
        source = f"SSLKEYLOGFILE is {masked(keys)!r}, which cannot be written"
    elif file:
        source = f"SSL_CERT_FILE is {masked(file)!r}, which cannot be read as certificates"
    elif directory:
        source = f"SSL_CERT_DIR is {masked(directory)!r}, which cannot be read as certificates"
    return ConfigurationError(f"{source}: {problem}")


def _loads(file: Optional[str], directory: Optional[str]) -> bool:
    """True if the certificates alone can be loaded."""
    try:
        if file or directory:
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(
                file or None, directory or None
            )
    except (OSError, ValueError):
        return False
    return True


def connection_hint(address: str, *, untrusted: bool) -> str:
    """Say what the environment has to do with a connection that failed, or nothing.

    Args:
        address: Whom the connection was for, without a scheme.
        untrusted: Whether a certificate was the reason.
    """
    if untrusted:
        for name in ("SSL_CERT_FILE", "SSL_CERT_DIR"):
            if os.environ.get(name):
                return f"; {name} is {masked(os.environ[name])!r}"
    for scheme in ("https", "http"):
        try:
            proxy = proxy_for(f"{scheme}://{address}")
        except ConfigurationError as error:
            # The user's own client may have no use for it, and then it is not the reason.
            return f"; {error}"
        if proxy is not None:
            return f"; {proxy.source}"
    return ""
