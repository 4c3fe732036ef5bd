"""Why a goal is missed where it is, found with a profiler; printed beside the goal."""

REASONS = {
    "events": (
        "With orjson, JSON is no longer the larger part: the table *Where the time of an event "
        "goes* has it at a fifth. Each of the other steps makes objects that a user is given (the "
        "frame's bytes, a dictionary with the documented keys) or keeps a promise (numbers as "
        "they were sent, exactly one end), in Python that is already run once per chunk wherever "
        "it can be. Tried and left out, as it bought less than 3 %: splitting chunks into lines "
        "instead of matching events, remembering the new keys for each kind of event, renaming "
        "in place, and interned names. An asynchronous stream pays for a timer and a cancel "
        "scope per chunk on top, by which it looks after the execution while the socket is silent."
    ),
    "flowmaestro-local": (
        "Three quarters of such a call are the client's own work; over a plain socket the server "
        "takes the other quarter. All of it is computing, none is waiting, so that it takes as "
        "long as the machine needs for it."
    ),
}
