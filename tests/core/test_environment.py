"""Any environment: a client that works, or an error of ours that names the variable."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import os
import re
import socket
import ssl
import subprocess
import sys

import httpx
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from flowmaestro_core import AsyncCoreClient, CoreClient, errors
from flowmaestro_core.environment import proxy_for
from flowmaestro_core.logs import logger, set_up_from
from flowmaestro_core.request import Request
from tests.conftest import KEY
from tests.raw import raw_server, response

pytestmark = pytest.mark.once

GET = Request.get("/workflows/wf")
OF_PROXIES = [
    *("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy"),
    *("ALL_PROXY", "all_proxy", "NO_PROXY", "no_proxy"),
]
OF_CERTIFICATES = ["SSL_CERT_FILE", "SSL_CERT_DIR", "SSLKEYLOGFILE"]
OURS = ["FLOWMAESTRO_LOG", "FLOWMAESTRO_BASE_URL", "FLOWMAESTRO_API_KEY"]
OF_THE_PLACE = ["LC_ALL", "LANG", "TZ"]


@pytest.fixture(autouse=True)
def _nothing_else(monkeypatch):
    for name in [*OF_PROXIES, *OF_CERTIFICATES, *OURS]:
        monkeypatch.delenv(name, raising=False)


@contextlib.contextmanager
def environment(**variables):
    """Set variables, and take back what they did to the log."""
    level, handlers = logger.level, list(logger.handlers)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in variables.items():
            patch.setenv(name, value)
        # Names are looked up by nobody: no test leaves the loopback.
        patch.setattr(socket, "getaddrinfo", _look_up)
        try:
            yield
        finally:
            logger.setLevel(level)
            logger.handlers[:] = handlers


_really_look_up = socket.getaddrinfo


def _look_up(host, port, *rest, **named):
    name = host.decode() if isinstance(host, bytes) else host
    # As the real one does, which raises for names that it cannot write.
    (name or "").encode("idna")
    if name not in ("127.0.0.1", "::1", "localhost", None):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
    return _really_look_up(host, port, *rest, **named)


def call(kind, base_url, **options):
    """Make a client and one call."""
    if kind is CoreClient:
        with CoreClient(KEY, base_url, max_retries=0, **options) as client:
            return client.call(GET)

    async def main():
        async with AsyncCoreClient(KEY, base_url, max_retries=0, **options) as client:
            return await client.call(GET)

    return asyncio.run(main())


both = pytest.mark.parametrize("kind", [CoreClient, AsyncCoreClient])


@pytest.fixture(scope="module")
def server():
    answer = response(b'{"data": {"id": "wf"}}', "Connection: close")
    with raw_server(lambda connection: connection.sendall(answer)) as url:
        yield url


@pytest.fixture(scope="module")
def nobody():
    """An address of this machine where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    return f"127.0.0.1:{port}"


# What can stand in a variable: no NUL, and what is no text as Python shows it.
ANYTHING = st.text(
    st.characters(exclude_characters="\0", exclude_categories=["Cs"])
    | st.characters(min_codepoint=0xDC80, max_codepoint=0xDCFF),
    max_size=20,
)
HOSTS = st.sampled_from(
    ["127.0.0.1", "[::1]", "localhost", "h", "a..b", "", "h o", "[::1", "é", "1.2.3.999", "x" * 70]
)
PORTS = st.sampled_from(["", ":", ":1", ":0", ":99999", ":x", ":-1", ":1:2"])
SCHEMES = st.sampled_from(["", "http://", "https://", "socks://", "socks5://", "SOCKS5H://", "x:"])
USERS = st.sampled_from(["", "u:p@", "@", ":@", "u:p@@", "a/b:c?d#e@", "\udcff:é@", "u%zz@"])
ENDS = st.sampled_from(["", "/", "/path", "?q", "#f", " ", "\n"])
PROXIES = ANYTHING | st.builds("".join, st.tuples(SCHEMES, USERS, HOSTS, PORTS, ENDS))
EXCLUDED = ANYTHING | st.lists(
    st.sampled_from(
        ["*", "127.0.0.1", "[::1]", "[::1]:80", "::1", "10.0.0.0/8", "fd00::/8", "127.0.0.0/33", ""]
        + ["localhost", ".localhost", "*.x", "http://", "all://127.0.0.1", "[", ":::", "é", " "]
    ),
    max_size=4,
).map(",".join)
PATHS = ANYTHING | st.sampled_from(
    ["garbage.pem", ".", "gone/x", "/", "", "garbage.pem:.", "/dev/null"]
)
ADDRESSES = ANYTHING | st.builds("".join, st.tuples(SCHEMES, USERS, HOSTS, PORTS, ENDS))
LEVELS = ANYTHING | st.sampled_from(
    ["debug", "WARN", "1", "true", "off", "2", "9999", "fine", "-1"]
)
VARIABLES = st.fixed_dictionaries(
    {},
    optional={
        **dict.fromkeys([name for name in OF_PROXIES if name.lower() != "no_proxy"], PROXIES),
        **dict.fromkeys(["NO_PROXY", "no_proxy"], EXCLUDED),
        **dict.fromkeys(OF_CERTIFICATES, PATHS),
        "FLOWMAESTRO_LOG": LEVELS,
        "FLOWMAESTRO_BASE_URL": ADDRESSES,
        "FLOWMAESTRO_API_KEY": ANYTHING,
        **dict.fromkeys(OF_THE_PLACE, ANYTHING),
    },
)


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory):
    """Go where files may be written, beside one that holds no certificate."""
    folder = tmp_path_factory.mktemp("elsewhere")
    (folder / "garbage.pem").write_text("no certificate")
    before = os.getcwd()
    os.chdir(folder)
    yield folder
    os.chdir(before)


@both
@given(variables=VARIABLES, scheme=st.sampled_from(["http", "http", "https"]))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@example(variables={"ALL_PROXY": "socks://h:1"}, scheme="http")
@example(variables={"ALL_PROXY": "http://127.0.0.1:1", "NO_PROXY": "[::1]"}, scheme="http")
@example(variables={"HTTPS_PROXY": "https://localhost:1", "SSLKEYLOGFILE": "/"}, scheme="https")
@pytest.mark.usefixtures("elsewhere")
def test_any_environment_is_a_client_that_works_or_an_error_that_names_it(
    kind, server, nobody, variables, scheme
):
    url = server if scheme == "http" else f"https://{nobody}"
    with environment(**variables):
        try:
            assert call(kind, url)["data"] == {"id": "wf"}
        except errors.FlowMaestroError as error:
            problem = error
        else:
            return
    named = [name for name in variables if name in str(problem)]
    # Nobody listens at the https address, whatever the environment says.
    assert named or (scheme == "https" and problem.code == "connection_failed")


@both
@given(
    variables=st.fixed_dictionaries(
        {}, optional={"FLOWMAESTRO_BASE_URL": ADDRESSES, "FLOWMAESTRO_API_KEY": ANYTHING}
    )
)
def test_any_address_and_any_key_of_the_environment_is_taken_or_named(kind, variables):
    with environment(**variables):
        try:
            kind()
        except errors.ConfigurationError as error:
            problem = str(error)
        else:
            assert variables.get("FLOWMAESTRO_API_KEY")
            return
    assert "FLOWMAESTRO_" in problem


@both
@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("ALL_PROXY", "socks://h:1", r"ALL_PROXY is 'socks://h:1'.*socks5"),
        ("all_proxy", "socks5://h:1", r"all_proxy is 'socks5://h:1'.*pip install 'httpx\[socks\]'"),
        ("HTTP_PROXY", "http://a:b@:::", r"HTTP_PROXY is 'http://\*\*\*@:::'"),
        ("http_proxy", "http://h:99999", "http_proxy is"),
        ("HTTP_PROXY", "nope nope", "HTTP_PROXY is"),
        ("FLOWMAESTRO_LOG", "loud", "FLOWMAESTRO_LOG must be debug.*'loud'"),
    ],
)
def test_a_client_is_not_made_where_a_variable_makes_no_sense(kind, server, name, value, says):
    with environment(**{name: value}):
        with pytest.raises(errors.ConfigurationError, match=says) as caught:
            kind(KEY, server)
    assert isinstance(caught.value, ValueError)


@both
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SSL_CERT_FILE", "/gone/ca.pem"),
        ("SSL_CERT_FILE", "/"),
        ("SSL_CERT_FILE", "garbage.pem"),
        ("SSL_CERT_DIR", "/gone"),
        ("SSL_CERT_DIR", "garbage.pem"),
        ("SSLKEYLOGFILE", "/gone/keys"),
        ("SSLKEYLOGFILE", "/"),
    ],
)
@pytest.mark.usefixtures("elsewhere")
def test_certificates_that_cannot_be_read_are_named(kind, nobody, name, value):
    with environment(**{name: value}):
        with pytest.raises(errors.ConfigurationError, match=re.escape(f"{name} is {value!r}")):
            call(kind, f"https://{nobody}")


@both
def test_of_two_variables_the_one_that_is_wrong_is_named(kind, nobody):
    import certifi

    variables = {"SSL_CERT_FILE": certifi.where(), "SSLKEYLOGFILE": "/gone/keys"}
    with environment(**variables):
        with pytest.raises(errors.ConfigurationError, match=r"^SSLKEYLOGFILE"):
            call(kind, f"https://{nobody}")


@both
def test_a_proxy_that_is_away_is_named_without_its_password(kind, nobody, server):
    with environment(HTTP_PROXY=f"http://me:hush@{nobody}"):
        with pytest.raises(errors.ConnectionError, match=rf"HTTP_PROXY is .*{nobody}") as caught:
            call(kind, server)
    assert "hush" not in str(caught.value)
    assert not caught.value.outcome_unknown


@both
def test_a_proxy_is_used_and_told_who_we_are(kind):
    heads: list[bytes] = []
    answer = response(b'{"data": 1}', "Connection: close")
    with raw_server(lambda connection: connection.sendall(answer), heads) as proxy:
        with_user = proxy.replace("http://", "http://me:h/u%20s@h@")
        for variable in ("HTTP_PROXY", "all_proxy"):
            with (
                environment(**{variable: f"{with_user}/"}),
                pytest.warns(UserWarning, match="not encrypted"),
            ):
                assert call(kind, "http://api.example")["data"] == 1
    for head in heads:
        assert head.startswith(b"GET http://api.example/api/v1/workflows/wf HTTP/1.1")
        # me:h/u s@h
        assert b"Proxy-Authorization: Basic bWU6aC91IHNAaA==" in head
    assert len(heads) == 2


@both
@pytest.mark.parametrize("no_proxy", ["*", "127.0.0.1", "10.0.0.1,127.0.0.0/8", "http://127.0.0.1"])
def test_what_needs_no_proxy_goes_straight(kind, server, nobody, no_proxy):
    with environment(HTTP_PROXY=f"http://{nobody}", NO_PROXY=no_proxy):
        assert call(kind, server)["data"] == {"id": "wf"}


EVERY = [
    *("[::1]", "[::1]:81", "[fd00::5]", "10.0.0.1", "10.0.0.1:81", "10.1.2.3"),
    *("x.example", "x.example:81", "a.x.example", "ax.example"),
]


@pytest.mark.parametrize(
    ("no_proxy", "excluded"),
    [
        ("[::1]", ["[::1]", "[::1]:81"]),
        ("[::1]:81", ["[::1]:81"]),
        ("::1", ["[::1]", "[::1]:81"]),
        ("fd00::/8", ["[fd00::5]"]),
        ("10.0.0.0/8", ["10.0.0.1", "10.0.0.1:81", "10.1.2.3"]),
        ("10.0.0.1:80", ["10.0.0.1"]),
        ("x.example", ["x.example", "x.example:81", "a.x.example"]),
        (".x.example", ["a.x.example"]),
        ("*.x.example", ["a.x.example"]),
        (" X.Example:81 , other", ["x.example:81"]),
        ("http://x.example:80", ["x.example", "a.x.example"]),
        ("https://x.example", []),
        ("", []),
        (",,:::,[,é,10.0.0.0/99", []),
        ("other,*", EVERY),
    ],
)
def test_no_proxy_excludes_what_it_names_and_nothing_else(no_proxy, excluded):
    with environment(ALL_PROXY="http://p", NO_PROXY=no_proxy):
        assert [machine for machine in EVERY if proxy_for(f"http://{machine}") is None] == excluded


@given(
    st.sampled_from(["http://h.example", "https://h.example", "http://10.0.0.1", "http://[::1]"]),
    st.fixed_dictionaries(
        {},
        optional={
            **dict.fromkeys(
                ["HTTP_PROXY", "https_proxy", "ALL_PROXY"],
                st.sampled_from(["http://p:1", "p:2", "http://u:p@p", "https://p/"]),
            ),
            "NO_PROXY": st.lists(
                st.sampled_from(["h.example", "example", ".example", "10.0.0.1", "::1", "other"])
            ).map(",".join),
        },
    ),
)
def test_the_proxy_is_the_one_that_httpx_takes(base_url, variables):
    with environment(**variables):
        ours = proxy_for(base_url)
        with httpx.Client(verify=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)) as client:
            theirs = client._transport_for_url(httpx.URL(base_url))
            if theirs is client._transport:
                assert ours is None
                return
    assert ours is not None
    url, wanted = httpx.URL(ours.url), theirs._pool._proxy_url
    default = {"http": 80, "https": 443}[url.scheme]
    assert (url.scheme, url.host) == (wanted.scheme.decode(), wanted.host.decode())
    assert (url.port or default) == (wanted.port or default)


def test_the_settings_of_the_system_are_named_as_that(monkeypatch):
    monkeypatch.setattr("urllib.request.getproxies", lambda: {"http": "ftp://p"})
    with pytest.raises(errors.ConfigurationError, match="http_proxy of the system's settings"):
        proxy_for("http://x")


# The level of the log


@pytest.mark.parametrize(
    ("text", "level"),
    [
        ("debug", 10),
        ("DEBUG", 10),
        (" Info ", 20),
        ("warn", 30),
        ("WARNING", 30),
        ("error", 40),
        ("fatal", 50),
        ("critical", 50),
        ("1", 10),
        ("true", 10),
        ("yes", 10),
        ("on", 10),
        ("10", 10),
        ("35", 35),
    ],
)
def test_the_usual_words_for_levels_work(text, level):
    with environment():
        set_up_from({"FLOWMAESTRO_LOG": text})
        assert logger.level == level
        assert any(type(handler) is logging.StreamHandler for handler in logger.handlers)


@pytest.mark.parametrize("text", ["", " ", "0", "off", "OFF", "none", "false", "no"])
def test_the_usual_words_for_no_log_work(text):
    with environment():
        before = (logger.level, list(logger.handlers))
        set_up_from({"FLOWMAESTRO_LOG": text})
        assert (logger.level, logger.handlers) == before


@pytest.mark.parametrize("text", ["loud", "-1", "1e9", "9999", "debug,info", "\u0661"])
def test_another_word_for_a_level_is_refused_by_name(text):
    with environment():
        with pytest.raises(errors.ConfigurationError, match="FLOWMAESTRO_LOG must be debug"):
            set_up_from({"FLOWMAESTRO_LOG": text})


@pytest.mark.parametrize(
    "variables",
    [
        {"LC_ALL": "C", "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"},
        {"LC_ALL": "no_SUCH.locale", "LANG": "\xff"},
        {"LC_ALL": "tr_TR.ISO-8859-9", "TZ": "Nowhere/Nothing"},
    ],
)
def test_any_locale_is_a_client_that_works_and_logs(variables, server):
    code = (
        "import sys\n"
        "from flowmaestro import FlowMaestroClient\n"
        "client = FlowMaestroClient('fm_live_x', sys.argv[1], max_retries=0)\n"
        "print(client.workflows.get('gr\\xfc\\u20ac\\u00dfe')['data']['id'])\n"
    )
    environ = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("LC_", "LANG", "PYTHON")) and name not in OF_PROXIES
    }
    done = subprocess.run(
        [sys.executable, "-c", code, server],
        env={**environ, **variables, "FLOWMAESTRO_LOG": "debug"},
        capture_output=True,
        timeout=110,
    )
    assert done.stdout.strip() == b"wf", done.stderr
    assert b"GET /workflows/gr" in done.stderr


# Numbers that clocks cannot take


@both
@pytest.mark.parametrize("seconds", [math.inf, 1e9, 1e300, httpx.Timeout(math.inf)], ids=range(4))
def test_a_call_without_a_bound_is_made(kind, server, seconds):
    assert call(kind, server, timeout=seconds)["data"] == {"id": "wf"}
