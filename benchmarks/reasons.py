"""Why a goal is missed where it is, found with a profiler; printed beside the goal."""

REASONS = {
    "events": (
        "Of 2.5 µs for an event with orjson, finding the event in the bytes takes 0.4, reading "
        "its JSON 0.6 (0.15 of it the search for numbers that orjson would round), renaming its "
        "keys and completing them 0.5, the generator, the follower and its rules 0.5, and "
        "httpcore with h11 the rest. JSON is no longer the larger part, and each of the others "
        "is Python that a stream needs which loses nothing. An asynchronous stream adds a task "
        "group for each chunk, some 100 µs: it looks after the execution while the socket is "
        "silent, and a read that is cancelled for that would lose its connection. A synchronous "
        "one has a reader thread for the same purpose; handing over a chunk takes some 50 µs, "
        "which an event in a segment of its own shows."
    ),
    "first answer": (
        "What is beyond raw httpx is the import of the SDK's own modules; 0.1.0 has fewer of "
        "them, and does less."
    ),
}
