"""The decoder gives the same frames however a stream is cut, and knows its limits."""

from __future__ import annotations

import httpx
import httpx_sse
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from flowmaestro_core.events import event_of
from flowmaestro_core.sse import EventDecoder, EventTooLarge, Frame

END = st.sampled_from(["\n", "\r\n", "\r"])
VALUE = st.text(st.characters(exclude_characters="\r\n\0", exclude_categories=["Cs"]), max_size=12)
LINE = st.one_of(
    st.builds("data: {}".format, VALUE),
    st.builds("data:{}".format, VALUE),
    st.builds("event: {}".format, VALUE),
    st.builds("id: {}".format, VALUE),
    st.builds(": {}".format, VALUE),
    st.just("data"),
    st.just("id"),
    st.just("retry: 100"),
    st.just(""),
    VALUE,
)
STREAM = st.lists(st.tuples(LINE, END), max_size=30).map(
    lambda lines: "".join(line + end for line, end in lines).encode()
)


def decode(stream: bytes, cuts: list[int]) -> list[Frame]:
    decoder = EventDecoder()
    frames, start = [], 0
    for cut in [*sorted(cut % (len(stream) + 1) for cut in cuts), len(stream)]:
        frames += decoder.feed(stream[start:cut])
        start = cut
    return frames


@given(STREAM, st.lists(st.integers(0, 10_000), max_size=20))
@example(b"data: a\r\n\r\ndata: b\r\n\r\n", [8])
@example(b"data: a\r\rdata: b\r\r", [8, 9])
def test_any_chunking_gives_the_same_frames(stream, cuts):
    assert decode(stream, cuts) == decode(stream, [])
    assert decode(stream, list(range(len(stream)))) == decode(stream, [])


@given(STREAM)
def test_the_frames_are_those_of_httpx_sse(stream):
    """An oracle that others keep. It also gives frames without data, which are none of ours."""
    response = httpx.Response(
        200, headers={"content-type": "text/event-stream"}, stream=httpx.ByteStream(stream)
    )
    theirs = [(event.event, event.data) for event in httpx_sse.EventSource(response).iter_sse()]
    ours = [
        (frame.event or "message", frame.data.decode("utf-8", "replace"))
        for frame in decode(stream, [])
    ]
    assert [frame for frame in ours if frame[1]] == [frame for frame in theirs if frame[1]]


def test_the_parts_of_a_frame():
    decoder = EventDecoder()
    frames = decoder.feed(
        b"\xef\xbb\xbfid: 7\nevent: node:started\ndata: {\ndata:  }\nretry: 250\n: hello\n\n"
    )
    assert frames == [Frame("node:started", b"{\n }", "7")]
    assert (decoder.last_event_id, decoder.retry, decoder.comments) == ("7", 250, 1)


def test_an_event_name_does_not_outlive_its_frame():
    frames = EventDecoder().feed(b"event: a\n\ndata: 1\n\nevent: b\ndata: 2\n\ndata: 3\n\n")
    assert [(frame.event, frame.data) for frame in frames] == [("", b"1"), ("b", b"2"), ("", b"3")]


def test_ids_stay_until_an_empty_one_clears_them():
    decoder = EventDecoder(last_event_id="3")
    assert decoder.feed(b"data: a\n\n") == [Frame("", b"a", None)]
    assert decoder.last_event_id == "3"
    decoder.feed(b"id: 4\ndata: b\n\n")
    assert decoder.last_event_id == "4"
    decoder.feed(b"id: 5\0\ndata: c\n\n")
    assert decoder.last_event_id == "4"
    decoder.feed(b"id:\ndata: d\n\n")
    assert decoder.last_event_id == ""


def test_a_frame_that_is_cut_at_the_end_is_not_given():
    assert EventDecoder().feed(b"data: a\n\ndata: b\n") == [Frame("", b"a")]


def test_bytes_that_are_no_utf8_do_not_stop_the_stream():
    frames = EventDecoder().feed(b"data: \xff\n\ndata: ok\n\n")
    assert [frame.data for frame in frames] == [b"\xff", b"ok"]


@pytest.mark.parametrize(
    "endless", [b"x" * 100, b"data: " + b"x" * 100, b"data: xxxxxxxxxxxx\n" * 10]
)
def test_a_line_or_an_event_without_end_is_cut_at_the_limit(endless):
    decoder = EventDecoder(max_event_bytes=1_000)
    with pytest.raises(EventTooLarge, match="longer than 1,000 bytes"):
        for _ in range(100):
            decoder.feed(endless)


def test_many_events_are_not_one_long_one():
    decoder = EventDecoder(max_event_bytes=100)
    assert len(decoder.feed(b"data: 12345\n\n" * 1_000)) == 1_000
    assert len(decoder.feed(b": keepalive\n\n" * 1_000)) == 0


@pytest.mark.parametrize("before", [b"", b"event: a\ndata: 1\n\n", b": keepalive\n\n"])
@pytest.mark.parametrize("step", [1, 1_000])
def test_an_event_may_be_as_long_as_the_limit(before, step):
    decoder = EventDecoder(max_event_bytes=100)
    line = b"data: " + b"x" * 94
    stream = before + line
    for start in range(0, len(stream), step):
        decoder.feed(stream[start : start + step])
    assert decoder.feed(b"\n\n")[-1].data == b"x" * 94
    with pytest.raises(EventTooLarge):
        decoder.feed(b"data: " + b"x" * 95)


def test_events_have_snake_case_keys_and_what_they_hold_is_left_alone():
    frame = Frame("node:completed", b'{"nodeId": "n", "output": {"someKey": 1}, "nextRetryIn": 5}')
    assert event_of(frame, {"execution_id": "e"}) == {
        "type": "node:completed",
        "execution_id": "e",
        "node_id": "n",
        "output": {"someKey": 1},
        "next_retry_in": 5,
    }


def test_the_type_in_the_data_wins_over_the_frames():
    assert event_of(Frame("a", b'{"type": "b"}'), {})["type"] == "b"
    assert event_of(Frame("a", b'{"type": ""}'), {})["type"] == "a"
    assert event_of(Frame("", b"{}"), {})["type"] == "message"


def test_a_key_that_is_there_in_both_cases_keeps_the_documented_one():
    event = event_of(Frame("a", b'{"nodeId": "wire", "node_id": "documented"}'), {})
    assert event == {"type": "a", "node_id": "documented"}


@pytest.mark.parametrize("data", ["", "[]", "7", "{", '"text"'])
def test_data_that_is_no_object_is_no_event(data):
    with pytest.raises(ValueError):
        event_of(Frame("a", data.encode()), {})


@given(st.dictionaries(st.text().filter(lambda key: key.lower() != "type"), st.integers()))
def test_any_object_is_an_event(content):
    import json

    event = event_of(Frame("a", json.dumps(content).encode()), {"execution_id": "e"})
    assert "type" in event
    assert "execution_id" in event
