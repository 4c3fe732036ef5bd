"""Readers that are too slow for what they follow: they are cut, and can go on where they were."""

from __future__ import annotations

import asyncio

from flowmaestro_local import bus as module
from flowmaestro_local.bus import Bus
from flowmaestro_local.records import ExecutionRecord
from flowmaestro_local.streams import answer_frames, execution_frames, thread_frames


def test_a_reader_that_lags_too_far_is_cut_where_it_is_and_can_go_on_from_there(monkeypatch):
    monkeypatch.setattr(module, "_LAG", 3)

    async def main():
        bus = Bus()
        slow = bus.subscribe("topic")
        for number in range(5):
            bus.publish("topic", {"number": number})
        assert slow.is_cut
        read = [slow.queue.get_nowait().number]
        # There is room again; what came meanwhile would leave a gap before it.
        bus.publish("topic", {"number": 5})
        while not slow.queue.empty():
            read.append(slow.queue.get_nowait().number)
        assert read == [1, 2, 3]
        assert [told.number for told in bus.since("topic", read[-1])] == [4, 5, 6]

    asyncio.run(main())


def test_the_answer_of_an_agent_does_not_pile_up_before_a_reader_that_does_not_read(monkeypatch):
    monkeypatch.setattr(module, "_LAG", 3)

    async def main():
        async def begin(tell):
            for number in range(1_000):
                tell({"type": "message:token", "token": str(number)})

        frames = answer_frames(begin, keepalive=30.0, stopping=asyncio.Event())
        return [frame async for frame in frames]

    frames = asyncio.run(main())
    assert [frame.partition(b"\n")[0] for frame in frames] == [b"id: 1", b"id: 2", b"id: 3"]


def test_an_end_that_comes_while_a_stream_is_opened_is_told():
    async def main():
        bus = Bus()
        execution = ExecutionRecord("e", "wf", {}, status="running")
        frames = execution_frames(
            bus,
            execution,
            documented=True,
            live=True,
            last_event_id=None,
            keepalive=30.0,
            stopping=asyncio.Event(),
        )
        told = [await frames.__anext__()]
        bus.publish("e", {"type": "execution:completed"})
        execution.status = "completed"
        told += [frame async for frame in frames]
        assert [b"execution:completed" in frame for frame in told] == [False, True]

    asyncio.run(main())


def test_an_event_that_comes_while_a_keepalive_is_sent_is_not_lost():
    async def main():
        bus = Bus()
        options = {"keepalive": 0.01, "stopping": asyncio.Event()}
        for topic, frames in (
            ("t", thread_frames(bus, "t", **options)),
            (
                "e",
                execution_frames(
                    bus,
                    ExecutionRecord("e", "wf", {}, status="running"),
                    documented=True,
                    live=True,
                    last_event_id=None,
                    **options,
                ),
            ),
        ):
            assert b"connected" in await frames.__anext__()
            assert await frames.__anext__() == b": keepalive\n\n"
            # The connection takes a while to carry the keepalive away.
            bus.publish(topic, {"type": "execution:progress"})
            for _ in range(5):
                await asyncio.sleep(0)
            assert b"execution:progress" in await frames.__anext__()
            await frames.aclose()

    asyncio.run(asyncio.wait_for(main(), 30))


def test_a_stream_that_is_left_leaves_nothing_behind():
    async def main():
        bus = Bus()
        execution = ExecutionRecord("e", "wf", {})
        options = {"keepalive": 30.0, "stopping": asyncio.Event()}
        for frames in (
            thread_frames(bus, "t", **options),
            execution_frames(
                bus, execution, documented=True, live=True, last_event_id=None, **options
            ),
        ):
            topic = "t" if b"thread_id" in await frames.__anext__() else "e"
            reading = asyncio.ensure_future(frames.__anext__())
            await asyncio.sleep(0)
            bus.publish(topic, {"type": "custom"})
            await reading
            await frames.aclose()
            # Who publishes has nobody to tell.
            assert not bus.has_readers(topic)
        await asyncio.sleep(0)
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(main())


def test_the_quietest_topics_are_forgotten_first(monkeypatch):
    monkeypatch.setattr(module, "_KEPT_OF_ALL", 4)
    bus = Bus()
    for topic in ("a", "b", "a", "c", "c"):
        bus.publish(topic, {"type": "custom"})
    kept = {topic: len(bus.since(topic, 0)) for topic in ("a", "b", "c")}
    # Nobody has spoken in "b" for longest.
    assert kept == {"a": 2, "b": 0, "c": 2}


def test_the_wires_stream_stays_open_for_a_moment_after_its_end(monkeypatch):
    monkeypatch.setattr("flowmaestro_local.streams._LINGER", 60.0)

    async def main():
        for was_over in (True, False):
            execution = ExecutionRecord("e", "wf", {}, status="failed" if was_over else "running")
            bus = Bus()
            frames = execution_frames(
                bus,
                execution,
                documented=False,
                live=True,
                last_event_id=None,
                keepalive=30.0,
                stopping=asyncio.Event(),
            )
            frame = await frames.__anext__()
            if not was_over:
                bus.publish("e", {"type": "execution:failed"})
                frame = await frames.__anext__()
            assert b"execution:failed" in frame
            ending = asyncio.ensure_future(frames.__anext__())
            for _ in range(20):
                await asyncio.sleep(0)
            assert not ending.done()
            ending.cancel()
            await asyncio.wait({ending})

    asyncio.run(main())
