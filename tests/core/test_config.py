"""What users hand in is checked when the client is made."""

from __future__ import annotations

import math
import pickle
from fractions import Fraction

import httpx
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from flowmaestro_core.config import (
    NO_BOUND,
    NOT_GIVEN,
    Options,
    Secret,
    Timeouts,
    check_seconds,
    resolve_api_key,
    resolve_base_url,
)
from flowmaestro_core.environment import proxy_for
from flowmaestro_core.errors import ConfigurationError

pytestmark = pytest.mark.once


def test_a_missing_key_names_both_ways_to_give_one():
    for key in (None, ""):
        with pytest.raises(ValueError, match=r"api_key=.*FLOWMAESTRO_API_KEY"):
            resolve_api_key(key, {})


def test_the_key_comes_from_the_argument_and_then_from_the_environment():
    environ = {"FLOWMAESTRO_API_KEY": "fm_live_env"}
    assert resolve_api_key(None, environ).reveal() == "fm_live_env"
    assert resolve_api_key("fm_live_arg", environ).reveal() == "fm_live_arg"


@pytest.mark.parametrize(
    "key", ["fm_live_a b", "fm_live_a\n", " fm_live_a", "fm_live_\x00", "fm_live_é"]
)
def test_a_key_that_no_header_can_carry_is_refused_without_being_shown(key):
    with pytest.raises(ValueError) as caught:
        resolve_api_key(key, {})
    assert "fm_live" not in str(caught.value)
    frame = caught.value.__traceback__
    while frame is not None:
        if "flowmaestro_core" in frame.tb_frame.f_code.co_filename:
            assert key not in map(repr, frame.tb_frame.f_locals.values())
            assert key not in frame.tb_frame.f_locals.values()
        frame = frame.tb_next


def test_a_key_that_is_no_string_is_refused():
    with pytest.raises(ValueError, match="must be a string, not int"):
        resolve_api_key(5, {})


def test_a_secret_shows_itself_nowhere():
    secret = Secret("fm_live_secret")
    assert "fm_live" not in f"{secret} {secret!r}"
    with pytest.raises(TypeError):
        pickle.dumps(secret)


@pytest.mark.parametrize(
    ("given", "address"),
    [
        (None, "https://api.flowmaestro.io"),
        ("https://x.example", "https://x.example"),
        ("https://x.example/", "https://x.example"),
        ("https://x.example/api/v1", "https://x.example"),
        ("https://x.example/api/v1/", "https://x.example"),
        ("http://127.0.0.1:8080/flow/api/v1", "http://127.0.0.1:8080/flow"),
        ("http://[::1]:80", "http://[::1]:80"),
        ("HTTP://HOST.Example:080/Path/", "http://host.example:80/Path"),
        ("Https://x.example:", "https://x.example"),
        ("https://x.example:65535", "https://x.example:65535"),
        ("https://x.example:1", "https://x.example:1"),
        ("https://x.example//api/v1//", "https://x.example"),
        ("https://x.example/v1/api/v1", "https://x.example/v1"),
        ("https://x.example/FAX//api/v1", "https://x.example/FAX"),
        ("https://bücher.example", "https://xn--bcher-kva.example"),
        ("https://x.example./a_b/%7Ec", "https://x.example./a_b/%7Ec"),
        ("http://my_machine:1", "http://my_machine:1"),
    ],
)
def test_addresses_lose_their_ending(given, address):
    assert resolve_base_url(given, {}) == address


@pytest.mark.parametrize(
    "given",
    ["api.flowmaestro.io", "ftp://x", "https://", "https://x y", "https://x\n", "https://x?a=1"]
    + ["https://x#a", "https://user:pw@x", "https://x:99999", "//x"]
    + ["https://x?", "https://x#", "https://x/#", "https://x/api/v1?", "https://x/api/v1/#/"]
    + ["https://x/v1", "https://x/V1/", "https://x/v2", "https://x/api/v1/workflows"]
    + ["https://x/API/V1/", "https://x/api/v1/api/v1", "https://x\\y", "https://user@x"]
    + ["https://:1", "https://x:0", "https://x:1e3", "https://x:-1", "https://x:\uff11", "https:/x"]
    + ["https://a..b", "https://.", f"https://{'a' * 64}", "https://999.1.1.1", "https://[::1"]
    + ["https://[nope]", "https://[fe80::1%25eth0]", "https://::1", "https://x/\ud800"]
    + ["https://\ud800", "https://x/a//b", "https://x/../y", "https://x/é", "https://x/%zz"]
    + ["https://x/{a}", "'https://x'", '"https://x"', "<https://x>", "https://x,https://y"],
)
def test_addresses_that_are_none_are_refused(given):
    with pytest.raises(ValueError, match="base_url"):
        resolve_base_url(given, {})


def test_an_address_that_is_no_string_is_refused():
    with pytest.raises(TypeError, match="base_url must be a string"):
        resolve_base_url(5, {})


def test_timeouts_are_seconds_or_httpx_timeouts_or_none():
    assert Timeouts.of(5) == (5, 5, 5, None)
    assert Timeouts.of(None) == (None, None, None, None)
    assert Timeouts.of(httpx.Timeout(3, read=7, pool=1)) == (3, 7, 3, 1)
    assert Timeouts.of(30).within(2) == (2, 2, 2, 2)
    assert Timeouts.of(None).within(2) == (2, 2, 2, 2)
    assert Timeouts.of(1).within(None) == (1, 1, 1, None)


@given(
    st.text(max_size=30)
    | st.builds(
        "{}://{}{}{}".format, *[st.sampled_from(["http", "HTTPS", "ftp"])], *[st.text()] * 3
    )
    | st.from_regex(r"https?://[a-zA-Z0-9.:\[\]@é-]{1,20}(/[a-z0-9%./?#]{0,12})?", fullmatch=True)
)
@example("http://h/api/v1/x")
def test_any_address_is_one_that_can_be_asked_or_is_refused(text):
    try:
        address = resolve_base_url(text, {})
    except ValueError as error:
        address, problem = "", str(error)
    if not address:
        assert problem.startswith("base_url ")
        return
    url = httpx.URL(address + "/api/v1/workflows")
    assert url.scheme in ("http", "https")
    assert url.host
    assert not url.userinfo
    assert not url.query
    assert url.raw_path.endswith(b"/api/v1/workflows")
    assert url.raw_path.count(b"/api/v1") == 1
    assert resolve_base_url(address, {}) == address
    # What is looked up in the end, which fails for no form of a name.
    url.host.encode("idna")


def test_an_address_of_the_environment_is_named_and_its_password_is_not_shown():
    environ = {"FLOWMAESTRO_BASE_URL": "https://me:hush@x.example"}
    with pytest.raises(ConfigurationError, match=r"FLOWMAESTRO_BASE_URL.*x\.example") as caught:
        resolve_base_url(None, environ)
    assert "hush" not in str(caught.value)
    for url in (None, ""):
        default = "https://api.flowmaestro.io"
        assert resolve_base_url(url, {"FLOWMAESTRO_BASE_URL": ""}) == default
        named = {"FLOWMAESTRO_BASE_URL": "https://x.y"}
        assert resolve_base_url(url, named) == "https://x.y"
    with pytest.raises(ConfigurationError, match=r"^FLOWMAESTRO_API_KEY has white space"):
        resolve_api_key(None, {"FLOWMAESTRO_API_KEY": "fm_live_a\n"})
    with pytest.raises(ConfigurationError, match="FLOWMAESTRO_API_KEY"):
        resolve_api_key(None, {})
    with pytest.raises(ValueError, match=r"^api_key has white space") as caught:
        resolve_api_key("fm_live_a\n", {})
    assert not isinstance(caught.value, ConfigurationError)


# Numbers of seconds


@pytest.mark.parametrize("value", [math.inf, 1e9, 1e300, 10**9, 10**400, 10**5_000], ids=range(6))
def test_seconds_without_end_are_no_bound(value):
    assert check_seconds("x", value) is None
    assert Timeouts.of(value) == (None, None, None, None)
    assert Timeouts.of(httpx.Timeout(value)) == (None, None, None, None)
    assert Options().changed(deadline=value).deadline is None


@given(st.floats(min_value=0, exclude_min=True, max_value=NO_BOUND, exclude_max=True))
def test_other_seconds_stay_what_they_are(value):
    assert check_seconds("x", value) == value
    assert type(check_seconds("x", 1)) is float
    assert check_seconds("x", 0, zero=True) == 0


@pytest.mark.parametrize(
    "value", [-1, -math.inf, math.nan, -(10**5_000), 0, 0.0, -0.0], ids=range(7)
)
def test_seconds_that_are_none_are_refused_by_name(value):
    with pytest.raises(ValueError, match=r"^x must be more than 0 seconds, not "):
        check_seconds("x", value)
    with pytest.raises(ValueError, match="deadline must be more than 0 seconds"):
        Options().changed(deadline=value)
    if value != 0:
        with pytest.raises(ValueError, match=r"^x must be 0 seconds or more, not "):
            check_seconds("x", value, zero=True)


@pytest.mark.parametrize("value", [True, "1", None, Fraction(1, 2), 1j, [1]])
def test_what_is_no_number_is_refused_by_name(value):
    with pytest.raises(TypeError, match=r"^x must be a number of seconds, not "):
        check_seconds("x", value)


@pytest.mark.parametrize("part", ["connect", "read", "write", "pool"])
def test_a_part_of_a_timeout_is_refused_by_name(part):
    timeout = httpx.Timeout(5, **{part: -1})
    with pytest.raises(ValueError, match=rf"timeout\.{part} must be"):
        Options().changed(timeout=timeout)
    with pytest.raises(ValueError, match=rf"timeout\.{part} must be"):
        Options().changed(timeout=httpx.Timeout(5, **{part: math.nan}))
    assert Timeouts.of(httpx.Timeout(5, pool=0)).pool == 0


@pytest.mark.parametrize("timeout", [-1, 0, math.nan, -0.5])
def test_timeouts_that_make_no_sense_are_refused(timeout):
    with pytest.raises(ValueError, match="timeout must be more than 0"):
        Options().changed(timeout=timeout)


@pytest.mark.parametrize("timeout", ["5", True, [5]])
def test_timeouts_of_another_type_are_refused(timeout):
    with pytest.raises(TypeError, match="timeout must be"):
        Options().changed(timeout=timeout)


def test_options_are_changed_one_by_one():
    options = Options().changed(max_retries=0, deadline=4, retry_unsafe=True)
    assert (options.max_retries, options.deadline, options.retry_unsafe) == (0, 4.0, True)
    assert options.changed(deadline=None).deadline is None
    assert options.changed() == options
    with pytest.raises(ValueError, match="max_retries must be 0 or more"):
        Options().changed(max_retries=-1)
    for odd in (1.5, True, "3"):
        with pytest.raises(TypeError, match="max_retries must be a whole number"):
            Options().changed(max_retries=odd)
    with pytest.raises(ValueError, match="deadline must be more than 0"):
        Options().changed(deadline=0)


def test_headers_are_added_and_replaced_without_regard_to_case():
    options = Options().changed(headers={"X-Team": "a", "X-B": "b"})
    assert options.changed(headers={"x-team": "c"}).headers == (("X-B", "b"), ("x-team", "c"))
    assert options.changed(headers=None) == options
    assert repr(NOT_GIVEN) == "NOT_GIVEN"


@pytest.mark.parametrize(
    "headers", [{"X Y": "a"}, {"": "a"}, {"X": "a\r\nEvil: b"}, {"X": "a\x00"}, {"X\n": "a"}]
)
def test_a_header_that_would_split_a_request_is_refused(headers):
    with pytest.raises(ValueError, match="headers"):
        Options().changed(headers=headers)


@pytest.mark.parametrize(
    "value", [" a", "a ", "\ta", "a\t", " ", "a\x0b", "a\x7f", "é", "\x85", "a\u3000", "\ud800"]
)
def test_a_header_that_cannot_be_sent_is_refused_by_name_and_its_value_is_not_shown(value):
    with pytest.raises(ValueError, match="headers: the value of 'X-Team'") as caught:
        Options().changed(headers={"X-Team": f"{value}hush" if value == "é" else value})
    assert "hush" not in str(caught.value)


@pytest.mark.parametrize(
    "name", ["Content-Length", "transfer-encoding", "CONNECTION", "Expect", "Upgrade", "TE"]
)
def test_a_header_of_the_connection_is_refused(name):
    with pytest.raises(ValueError, match=f"headers: '{name}'"):
        Options().changed(headers={name: "5"})


@given(st.text(alphabet=st.characters(max_codepoint=300), max_size=8))
def test_any_header_is_one_that_can_be_sent_or_is_refused(value):
    import h11

    try:
        options = Options().changed(headers={"X-Team": value})
    except ValueError:
        return
    headers = httpx.Headers(dict(options.headers)).raw
    h11.Request(method="GET", target="/", headers=[("Host", "h"), *headers])


def test_headers_of_any_kind_of_mapping_are_taken():
    assert Options().changed(headers=httpx.Headers({"X": "a b"})).headers == (("x", "a b"),)
    assert Options().changed(headers={}).headers == ()
    assert Options().changed(headers={"X": ""}).headers == (("X", ""),)
    for odd in ([("X", "a")], "X: a", 5):
        with pytest.raises(TypeError, match="headers must be a mapping"):
            Options().changed(headers=odd)


def test_options_show_no_value_of_a_header():
    options = Options().changed(headers={"X-Gateway": "hush"}, max_retries=7)
    assert "hush" not in repr(options)
    assert "X-Gateway" in repr(options)
    assert "7" in repr(options)


def test_a_header_that_is_no_string_is_refused():
    with pytest.raises(TypeError, match="headers"):
        Options().changed(headers={"X": 5})


@pytest.mark.parametrize("port", ["8080", "000000008080", "0" * 5_000 + "8080"])
def test_zeros_before_a_port_say_nothing(port, monkeypatch):
    assert resolve_base_url(f"https://api.test:{port}") == "https://api.test:8080"
    monkeypatch.setenv("HTTPS_PROXY", f"http://proxy.test:{port}")
    proxy = proxy_for("https://api.test")
    assert proxy is not None
    assert proxy.url == "http://proxy.test:8080"
