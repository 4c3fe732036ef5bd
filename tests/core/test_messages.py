"""The whole text of what users are told, with the values and the advice in it."""

from __future__ import annotations

import os
import pickle
import platform
import ssl

import httpx
import pytest

from flowmaestro_core import __version__, errors, http
from flowmaestro_core.coding import UnknownCoding
from flowmaestro_core.config import (
    Options,
    Secret,
    Timeouts,
    check_seconds,
    resolve_api_key,
    resolve_base_url,
)
from flowmaestro_core.environment import check_environment, proxy_for
from flowmaestro_core.errors import InvalidArgumentError
from flowmaestro_core.logs import set_up_from
from flowmaestro_core.request import at_least_one, check_text, identifier, page_query
from flowmaestro_core.response import Answer, error_of, read_data
from flowmaestro_core.shapes import a_list, an_object
from flowmaestro_core.starting import inputs_body

pytestmark = pytest.mark.once

PROXY_VARIABLES = ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"]


def told(call, *arguments, **named):
    """Give the type and the text of the error that a call raises."""
    with pytest.raises(Exception) as caught:
        call(*arguments, **named)
    return type(caught.value), str(caught.value)


class NoText:
    def __repr__(self):
        raise LookupError("no text today")


# What users hand in


@pytest.mark.parametrize(
    ("key", "error", "message"),
    [
        (5, ValueError, "api_key must be a string, not int"),
        (Secret(b"fm"), ValueError, "api_key must be a string, not bytes"),
        (
            "fm a",
            ValueError,
            "api_key has white space or a control character in it; copy the key again, without "
            "the line's end",
        ),
        ("fmé", ValueError, "api_key has a character that is not ASCII; copy the key again"),
        (
            "",
            ValueError,
            "no API key: pass api_key=... to the client or set the environment variable "
            "FLOWMAESTRO_API_KEY",
        ),
    ],
)
def test_a_key_that_is_refused_says_what_to_do(key, error, message):
    assert told(resolve_api_key, key, {}) == (error, message)


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("https://x y", "has white space or a control character in it"),
        ("https://x\x7f", "has white space or a control character in it"),
        ("https://x\x00", "has white space or a control character in it"),
        ("https://x?a=1", "may not have a query or a fragment (? or #)"),
        ("https://x#a", "may not have a query or a fragment (? or #)"),
        ("https://x\\y", "has a backslash in it"),
        ("https://me@x", "may not have a user name; the key goes into api_key"),
        ("ftp://me@x/y", "may not have a user name; the key goes into api_key"),
        ("x.example", "must be a whole address such as 'https://api.flowmaestro.io'"),
        ("https://", "must be a whole address such as 'https://api.flowmaestro.io'"),
        ("https://1.2.3.999", "has a host that is no IP address"),
        ("https://[::g]", "has a host that is no IP address"),
        ("https://a..b", "has a host that is no name of a machine"),
        ("https://x:0", "has a port that is none (1 to 65535)"),
        ("https://x:65536", "has a port that is none (1 to 65535)"),
        ("https://x:000000009999999", "has a port that is none (1 to 65535)"),
        ("https://x/v2", "ends in a version, but not in /api/v1: leave the version out"),
        ("https://x/é", "has a character in its path that must be written with % and two digits"),
        ("https://x/api/v1/a", "has more behind /api/v1: leave out what follows"),
        ("https://x/a//b", "has an empty part, or one of dots, in its path"),
        ("https://x/a/../b", "has an empty part, or one of dots, in its path"),
        ("https://x/./b", "has an empty part, or one of dots, in its path"),
    ],
)
def test_an_address_that_is_refused_says_what_is_wrong_with_it(url, problem):
    shown = url.replace("me@", "***@")
    assert told(resolve_base_url, url, {}) == (ValueError, f"base_url {problem}: {shown!r}")
    assert told(resolve_base_url, None, {"FLOWMAESTRO_BASE_URL": url}) == (
        errors.ConfigurationError,
        f"FLOWMAESTRO_BASE_URL {problem}: {shown!r}",
    )


def test_an_address_that_is_no_string_is_told_by_its_type():
    assert told(resolve_base_url, 5, {}) == (TypeError, "base_url must be a string, not int")


def test_a_long_address_is_shown_in_part():
    url = "https://" + "a" * 300
    _, message = told(resolve_base_url, url, {})
    assert message.endswith(f": {url[:200] + '...'!r}")
    url = "https://" + "a" * 192
    _, message = told(resolve_base_url, url, {})
    assert message.endswith(f": {url!r}")


@pytest.mark.parametrize(
    ("named", "error", "message"),
    [
        (
            {"timeout": "5"},
            TypeError,
            "timeout must be seconds, an httpx.Timeout or None, not '5'",
        ),
        ({"timeout": True}, TypeError, "timeout must be a number of seconds, not True"),
        ({"timeout": 0}, InvalidArgumentError, "timeout must be more than 0 seconds, not 0"),
        (
            {"timeout": httpx.Timeout(5, connect=0)},
            InvalidArgumentError,
            "timeout.connect must be more than 0 seconds, not 0",
        ),
        (
            {"timeout": httpx.Timeout(5, pool=-1)},
            InvalidArgumentError,
            "timeout.pool must be 0 seconds or more, not -1",
        ),
        (
            {"deadline": "x" * 99},
            TypeError,
            f"deadline must be a number of seconds, not '{'x' * 99}...",
        ),
        (
            {"deadline": -1.5},
            InvalidArgumentError,
            "deadline must be more than 0 seconds, not -1.5",
        ),
        ({"max_retries": "3"}, TypeError, "max_retries must be a whole number, not '3'"),
        ({"max_retries": True}, TypeError, "max_retries must be a whole number, not True"),
        ({"max_retries": -1}, InvalidArgumentError, "max_retries must be 0 or more, not -1"),
        (
            {"max_retries": -(10**5_000)},
            InvalidArgumentError,
            "max_retries must be 0 or more, not an int that is too long",
        ),
        ({"headers": ["X"]}, TypeError, "headers must be a mapping, not list"),
        ({"headers": {"X Y": "a"}}, InvalidArgumentError, "headers: 'X Y' is no header name"),
        ({"headers": {5: "a"}}, InvalidArgumentError, "headers: 5 is no header name"),
        (
            {"headers": {"Te": "a"}},
            InvalidArgumentError,
            "headers: 'Te' belongs to the connection and cannot be set",
        ),
        ({"headers": {"X": 5}}, TypeError, "headers: the value of 'X' must be a string"),
        (
            {"headers": {"X": " a"}},
            InvalidArgumentError,
            "headers: the value of 'X' has white space at its beginning or end",
        ),
        (
            {"headers": {"X": "a\x00b"}},
            InvalidArgumentError,
            "headers: the value of 'X' has a control character in it",
        ),
        (
            {"headers": {"X": "é"}},
            InvalidArgumentError,
            "headers: the value of 'X' has a character that is not ASCII",
        ),
    ],
)
def test_an_option_that_is_refused_says_which_and_what_it_was(named, error, message):
    assert told(Options().changed, **named) == (error, message)


def test_a_value_that_cannot_be_shown_is_told_by_its_type():
    assert told(check_seconds, "x", NoText()) == (
        TypeError,
        "x must be a number of seconds, not a NoText that is too long",
    )
    assert told(check_seconds, "x", -(10**5_000)) == (
        InvalidArgumentError,
        "x must be more than 0 seconds, not an int that is too long",
    )
    # Up to a hundred characters it is shown whole.
    assert told(check_seconds, "x", "y" * 98)[1].endswith(f"not {'y' * 98!r}")


def test_a_header_may_have_a_tab_within_its_value():
    assert Options().changed(headers={"X": "a\tb"}).headers == (("X", "a\tb"),)


@pytest.mark.parametrize(
    "name",
    [
        *("Connection", "Content-Length", "Expect", "Keep-Alive", "Proxy-Connection"),
        *("TE", "Trailer", "Transfer-Encoding", "Upgrade"),
    ],
)
def test_each_header_of_the_connection_is_refused(name):
    assert told(Options().changed, headers={name: "a"}) == (
        InvalidArgumentError,
        f"headers: {name!r} belongs to the connection and cannot be set",
    )


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: identifier("a_id", 7), TypeError, "a_id must be a string, not int: 7"),
        (lambda: identifier("a_id", " "), InvalidArgumentError, "a_id must not be empty"),
        (lambda: identifier("a_id", "."), InvalidArgumentError, "a_id cannot be '.'"),
        (lambda: identifier("a_id", ".."), InvalidArgumentError, "a_id cannot be '..'"),
        (
            lambda: identifier("a_id", "\ud800"),
            InvalidArgumentError,
            r"a_id is no valid Unicode: '\ud800'",
        ),
        (lambda: check_text("text", None), TypeError, "text must be a string, not NoneType: None"),
        (lambda: page_query(0), InvalidArgumentError, "page must be 1 or more, not 0"),
        (lambda: page_query(1, -2), InvalidArgumentError, "per_page must be 1 or more, not -2"),
        (lambda: page_query(1, "2"), TypeError, "per_page must be a whole number, not '2'"),
        (lambda: page_query(status=5), TypeError, "status must be a string, not int: 5"),
        (lambda: at_least_one("n", True), TypeError, "n must be a whole number, not True"),
        (
            lambda: inputs_body([1]),
            TypeError,
            "inputs must be a mapping of names to values, not list",
        ),
        (
            lambda: errors.FlowMaestroError.from_dict([1]),
            TypeError,
            "data must be a mapping, not list",
        ),
        (
            lambda: http.check_http_client(httpx.Client, "Client"),
            TypeError,
            "http_client must be an httpx.Client or an httpx2.Client, not builtins.type",
        ),
    ],
)
def test_an_argument_that_is_refused_says_which_and_what_it_was(call, error, message):
    assert told(call) == (error, message)


def test_a_plain_address_is_warned_of_by_name():
    with pytest.warns(UserWarning, match="not encrypted") as caught:
        http.warn_of_plain_http("http://api.example")
    assert [str(warning.message) for warning in caught] == [
        "base_url 'http://api.example' is not encrypted: the API key crosses the network in the "
        "clear"
    ]


def test_a_key_that_would_leave_the_process_says_what_to_do():
    assert told(pickle.dumps, Secret("fm")) == (
        TypeError,
        "an API key is not pickled; make a new client in the other process",
    )


# The environment


@pytest.fixture
def set_only(monkeypatch):
    """Set variables of the environment, and no others that have to do with connections."""
    for name in [*PROXY_VARIABLES, "SSL_CERT_FILE", "SSL_CERT_DIR", "SSLKEYLOGFILE"]:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)

    def set_only(**variables):
        for name, value in variables.items():
            monkeypatch.setenv(name, value)

    return set_only


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (
            "ftp://p",
            "is no proxy that can be used: begin it with one of http, https, socks5, socks5h",
        ),
        ("http://a..b", "is no address of a proxy, such as 'http://proxy.example:3128'"),
        ("http://p:0", "is no address of a proxy, such as 'http://proxy.example:3128'"),
        ("http://p:65536", "is no address of a proxy, such as 'http://proxy.example:3128'"),
        (
            "socks5://p",
            "is a SOCKS proxy, for which a package is missing: pip install 'httpx[socks]'",
        ),
    ],
)
def test_a_proxy_that_is_refused_says_where_it_stands_and_what_to_do(set_only, value, problem):
    set_only(ALL_PROXY=value)
    assert told(proxy_for, "http://x.example") == (
        errors.ConfigurationError,
        f"ALL_PROXY is {value!r}, which {problem}",
    )


@pytest.mark.parametrize(
    ("value", "url"),
    [
        ("p", "http://p:80"),
        ("http://P", "http://p:80"),
        ("HTTPS://p/path?q#f", "https://p:443"),
        (" http://p:3128 ", "http://p:3128"),
        ("http://me:p/w@p:1", "http://me:p%2Fw@p:1"),
        ("http://me:a://b@p:1", "http://me:a:%2F%2Fb@p:1"),
        ("http://[::1]:65535", "http://[::1]:65535"),
        ("http://\udcff@p", "http://%3F@p:80"),
    ],
)
def test_a_proxy_is_read_with_its_user_and_its_port(set_only, value, url):
    set_only(ALL_PROXY=value)
    assert proxy_for("http://x.example").url == url


def test_a_socks_proxy_is_taken_where_its_package_is_installed(set_only, monkeypatch):
    installed = {"socksio": object()}
    monkeypatch.setattr("importlib.util.find_spec", installed.get)
    for scheme in ("socks5", "socks5h"):
        set_only(ALL_PROXY=f"{scheme}://p")
        assert proxy_for("http://x.example").url == f"{scheme}://p:1080"


def test_a_proxy_of_a_scheme_wins_over_the_one_for_all(set_only):
    set_only(ALL_PROXY="http://all", HTTPS_PROXY="http://me:hush@https")
    assert proxy_for("https://x.example") == (
        "http://me:hush@https:80",
        "HTTPS_PROXY is 'http://***@https'",
    )
    assert proxy_for("http://x.example") == ("http://all:80", "ALL_PROXY is 'http://all'")


def test_a_scheme_in_no_proxy_is_that_of_the_address_or_all(set_only):
    for excluded, no_proxy in (
        (True, "http://x.example"),
        (True, "all://x.example"),
        (False, "https://x.example"),
        (False, "none://x.example"),
        (True, "https://x.example, x.example"),
    ):
        set_only(ALL_PROXY="http://p", NO_PROXY=no_proxy)
        assert (proxy_for("http://x.example") is None) is excluded, no_proxy


def test_the_certificate_of_a_proxy_is_verified_with_what_the_environment_names(set_only, tmp_path):
    garbage = tmp_path / "garbage.pem"
    garbage.write_text("no certificate")
    set_only(HTTP_PROXY="https://p.example")
    context = http.proxy_of("http://x.example").ssl_context
    assert isinstance(context, ssl.SSLContext)
    assert context.get_ca_certs()
    set_only(SSL_CERT_FILE=str(garbage))
    assert told(http.proxy_of, "http://x.example")[0] is errors.ConfigurationError
    # A proxy that is not encrypted has none.
    set_only(HTTP_PROXY="http://p.example")
    assert http.proxy_of("http://x.example").ssl_context is None


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_certificates_are_looked_for_where_there_is_a_use_for_them(set_only, scheme):
    set_only(SSL_CERT_FILE="/gone/ca.pem")
    missing = (
        errors.ConfigurationError,
        "SSL_CERT_FILE is '/gone/ca.pem', where there is no file",
    )
    assert told(check_environment, "https://x.example") == missing
    set_only(HTTP_PROXY=f"{scheme}://p.example")
    if scheme == "https":
        assert told(check_environment, "http://x.example") == missing
    else:
        check_environment("http://x.example")


def test_a_folder_of_certificates_that_is_not_there_is_named(set_only, tmp_path):
    set_only(SSL_CERT_DIR="/gone")
    assert told(check_environment, "https://x.example") == (
        errors.ConfigurationError,
        "SSL_CERT_DIR is '/gone', where there is no directory",
    )
    # Several may be named, of which one is enough.
    set_only(SSL_CERT_DIR=f"/gone{os.pathsep}{tmp_path}")
    check_environment("https://x.example")


@pytest.mark.parametrize(
    ("name", "is_good", "says"),
    [
        ("SSL_CERT_FILE", True, "SSLKEYLOGFILE is '/gone/keys', which cannot be written: why"),
        ("SSL_CERT_DIR", True, "SSLKEYLOGFILE is '/gone/keys', which cannot be written: why"),
        (None, True, "SSLKEYLOGFILE is '/gone/keys', which cannot be written: why"),
        (
            "SSL_CERT_FILE",
            False,
            "SSL_CERT_FILE is {!r}, which cannot be read as certificates: why",
        ),
    ],
)
def test_of_certificates_and_the_log_of_keys_the_wrong_one_is_named(
    set_only, tmp_path, name, is_good, says
):
    import certifi

    garbage = tmp_path / "garbage.pem"
    garbage.write_text("no certificate")
    path = certifi.where() if is_good else str(garbage)
    if name is not None:
        set_only(**{name: str(tmp_path) if name == "SSL_CERT_DIR" else path})
    set_only(SSLKEYLOGFILE="/gone/keys")
    assert str(http.certificate_error(OSError("why"))) == says.format(path)


def test_certificates_without_a_log_of_keys_are_named(set_only):
    text = str(http.certificate_error(OSError("why")))
    assert text == "the certificates that certifi brings cannot be read: why"
    set_only(SSL_CERT_DIR="/some")
    text = str(http.certificate_error(OSError("why")))
    assert text == "SSL_CERT_DIR is '/some', which cannot be read as certificates: why"


def test_a_level_that_is_none_is_told_with_those_that_there_are():
    assert told(set_up_from, {"FLOWMAESTRO_LOG": "loud"}) == (
        errors.ConfigurationError,
        "FLOWMAESTRO_LOG must be debug, info, warning, error, critical or off, not 'loud'",
    )


# The network


@pytest.mark.parametrize(
    ("failure", "was_sent", "message"),
    [
        (httpx.PoolTimeout("x"), True, "no free connection in the pool of http_client"),
        (httpx.ConnectTimeout("x"), True, "no connection to host:1 within 1.5 s"),
        (
            httpx.ReadTimeout("x"),
            False,
            "no connection to host:1 within 2 s: the proxy did not open one",
        ),
        (httpx.ReadTimeout("x"), True, "no answer from host:1 within 2 s"),
        (httpx.WriteTimeout("x"), True, "no answer from host:1 within 2 s"),
        (httpx.ConnectError("refused"), True, "cannot connect to host:1: refused"),
        (httpx.ProxyError("403 No"), True, "cannot connect to host:1: 403 No"),
        (httpx.LocalProtocolError("odd"), True, "the request to host:1 cannot be sent: odd"),
        (httpx.DecodingError("odd"), True, "the response from host:1 cannot be unpacked: odd"),
        (httpx.ReadError("reset"), False, "cannot connect to host:1: reset"),
        (httpx.ReadError("reset"), True, "the connection to host:1 broke: reset"),
        (httpx.ReadError(""), True, "the connection to host:1 broke: ReadError"),
    ],
)
def test_a_failure_of_the_network_says_which_machine_and_why(set_only, failure, was_sent, message):
    timeouts = Timeouts(1.5, 2.0, 3.0)
    result = http.unanswered(failure, "host:1", timeouts, was_sent=was_sent)
    assert result.error.message == message


@pytest.mark.parametrize("link", ["__cause__", "__context__"])
def test_a_failure_without_words_is_told_in_those_of_what_it_comes_from(set_only, link):
    failure, between = httpx.ConnectError(""), OSError()
    setattr(failure, link, between)
    setattr(between, link, ConnectionRefusedError("refused"))
    result = http.unanswered(failure, "h", Timeouts(1.0, 2.0, 3.0))
    assert (result.error.message, result.final) == ("cannot connect to h: refused", False)
    # A certificate is the reason wherever it stands.
    failure = httpx.ConnectError("all attempts failed")
    setattr(failure, link, between)
    setattr(between, link, ssl.SSLCertVerificationError("self-signed"))
    result = http.unanswered(failure, "h", Timeouts(1.0, 2.0, 3.0))
    assert result.error.message.startswith("cannot connect to h: ('self-signed',)")
    assert (result.error.code, result.final) == ("certificate_untrusted", True)
    # Two that come from each other are no endless chain.
    setattr(between, link, failure)
    assert http.unanswered(failure, "h", Timeouts(1.0, 2.0, 3.0)).error.code == "connection_failed"


def test_a_proxy_that_opens_no_connection_in_time_has_the_code_of_that():
    result = http.unanswered(
        httpx.ReadTimeout("x"), "host:1", Timeouts(1.0, 2.0, 3.0), was_sent=False
    )
    assert (type(result.error), result.error.code) == (errors.TimeoutError, "connect_timeout")


def test_a_failure_to_connect_names_what_the_environment_has_to_do_with_it(set_only):
    timeouts = Timeouts(None, None, None)
    set_only(HTTPS_PROXY="http://me:hush@p.example", SSL_CERT_FILE="/some/ca.pem")
    for failure, message in (
        (
            httpx.ConnectTimeout("x"),
            "no connection to h within the time of the operating system; "
            "HTTPS_PROXY is 'http://***@p.example'",
        ),
        (
            httpx.ConnectError("refused"),
            "cannot connect to h: refused; HTTPS_PROXY is 'http://***@p.example'",
        ),
        (
            httpx.ConnectError("CERTIFICATE_VERIFY_FAILED"),
            "cannot connect to h: CERTIFICATE_VERIFY_FAILED; SSL_CERT_FILE is '/some/ca.pem'",
        ),
    ):
        assert http.unanswered(failure, "h", timeouts).error.message == message
    set_only(SSL_CERT_FILE="", SSL_CERT_DIR="/some")
    failure = httpx.ConnectError("CERTIFICATE_VERIFY_FAILED")
    text = http.unanswered(failure, "h", timeouts).error.message
    assert text.endswith("; SSL_CERT_DIR is '/some'")
    set_only(HTTPS_PROXY="ftp://p")
    text = http.unanswered(httpx.ConnectError("refused"), "h", timeouts).error.message
    assert text.startswith("cannot connect to h: refused; HTTPS_PROXY is 'ftp://p', which is no ")


def test_limits_that_were_reached_are_told_with_their_figures():
    cut = http.too_large(httpx.Response(206), 12_345)
    assert cut.error.message == (
        "the answer is longer than 12,345 bytes and was cut; see max_response_bytes"
    )
    assert (cut.error.code, cut.error.status_code, cut.final) == ("response_too_large", 206, True)
    busy = http.client_busy()
    assert busy.error.message == (
        "the client has 100 calls under way, and none of them ended in time"
    )
    assert (busy.error.code, busy.final) == ("client_busy", False)


def test_a_coding_is_looked_up_without_the_environment(set_only):
    # httpx would refuse this proxy, for which a package is missing.
    set_only(ALL_PROXY="socks5://p")
    response = httpx.Response(200, headers={"content-encoding": "gzip, zip"}, content=None)
    with pytest.raises(UnknownCoding, match=r"^its content coding 'zip' is not supported$"):
        http.unpacker_of(response)


def test_each_request_says_what_it_takes_and_who_sends_it():
    sent = http.headers_for(Secret("fm"), Options(), key_header=False)
    agent = sent.pop("user-agent")
    assert dict(sent) == {
        "accept": "application/json",
        "accept-encoding": "gzip, deflate",
        "authorization": "Bearer fm",
    }
    python = platform.python_version()
    assert agent == f"flowmaestro-python/{__version__} Python/{python} httpx/{httpx.__version__}"
    sent = http.headers_for(Secret("fm"), Options(), key_header=True, user_agent="mine")
    assert (sent["user-agent"], sent["x-api-key"]) == ("mine", "fm")
    assert "authorization" not in sent
    own = Options(headers=(("Authorization", "Basic x"), ("Accept", "a")))
    sent = http.headers_for(Secret("fm"), own, key_header=False)
    assert (sent["authorization"], sent["x-api-key"], sent["accept"]) == ("Basic x", "fm", "a")
    assert "fm" not in repr(sent)
    assert "Basic" not in repr(sent.copy())


# Responses


@pytest.mark.parametrize(
    ("status", "headers", "body", "message"),
    [
        (
            302,
            {"location": "https://x"},
            b"",
            "the backend redirects to 'https://x'; the key is not sent there: "
            "set base_url to the right address",
        ),
        (
            307,
            {},
            b"",
            "the backend redirects to 'somewhere else'; the key is not sent there: "
            "set base_url to the right address",
        ),
        (413, {}, b"", "the request body is larger than the API accepts: send less in one request"),
        (414, {}, b"", "the URL or a header of the request is longer than the API accepts"),
        (431, {}, b"", "the URL or a header of the request is longer than the API accepts"),
        (502, {}, b"", "the answer is empty"),
        (502, {}, b"<p>", "the answer is no error of FlowMaestro's: '<p>'"),
    ],
)
def test_an_error_without_words_is_told_in_ours(status, headers, body, message):
    assert error_of(Answer(status, headers, body), 0.0).message == message


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "the answer is empty: ''"),
        (b"[]", "the answer is JSON, but no object with data: '[]'"),
        (b"{}", "the answer is JSON, but no object with data: '{}'"),
        (
            b"[" * 100_000,
            f"the answer is no JSON (it is nested too deep): {'[' * 200 + '...'!r}",
        ),
        (
            b"\xff{",
            "the answer is no JSON (it is not text): '\ufffd{'",
        ),
        (
            b'{"data": 5}',
            "unexpected response: data is a number, expected an object: '{\"data\": 5}'",
        ),
    ],
    ids=range(6),
)
def test_a_success_that_cannot_be_read_shows_its_beginning(body, message):
    with pytest.raises(errors.ServerError) as caught:
        read_data(Answer(201, {}, body), an_object())
    error = caught.value
    assert (error.message, error.code, error.status_code) == (message, "invalid_response", 201)


def test_an_id_that_cannot_exist_is_told_as_the_api_said_it():
    body = b'{"code": "22P02", "message": "no uuid", "meta": {"request_id": "r1"}}'
    error = error_of(Answer(500, {}, body), 0.0)
    assert str(error) == "[resource_not_found] no such id: no uuid (HTTP 404, request id r1)"
    assert error.api_message == "no uuid"
    assert error.details == {"message": "no uuid", "code": "22P02", "status_code": 500}


class Odd:
    """Of a type that no JSON has."""


@pytest.mark.parametrize(
    ("value", "name"),
    [
        (None, "null"),
        ([], "an array"),
        ("", "a string"),
        (True, "a boolean"),
        (1, "a number"),
        (0.5, "a number"),
        (Odd(), "unknown"),
    ],
)
def test_the_type_of_what_is_wrong_in_a_response_is_named(value, name):
    assert an_object()(value) == f"data is {name}, expected an object"
    if value is not None:
        check = an_object(a=dict)
        assert check({"a": value}) == f"data.a is {name}, expected an object"
    if value is not None and value != []:
        assert a_list()(value) == f"data is {name}, expected an array"
    assert a_list()([{}, value]) == f"data[1] is {name}, expected an object"


def test_an_id_that_is_missing_in_a_response_is_told_from_one_that_is_none():
    check = an_object("id", name=str)
    assert check({"id": "a"}) is None
    assert check({"name": "a"}) == "data.id is missing, expected an id"
    for odd in (None, "", " ", ".", "..", 5, "\ud800"):
        assert check({"id": odd}) == f"data.id is {odd!r}, expected an id"
    assert check({"id": "x" * 200 + ".."}) is None
    assert check({"id": ["x" * 200]}) == f"data.id is {repr(['x' * 200])[:100]}, expected an id"
    assert a_list("id")([{"id": "a"}, {}]) == "data[1].id is missing, expected an id"
    assert an_object(a=str)({"a": None}) is None
