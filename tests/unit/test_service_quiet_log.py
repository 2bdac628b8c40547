"""A log that does not fill while brokers are away."""

import logging

from streamsplit.service.quiet_log import EVERY_SECONDS, Repetitions


def _line(text: str, name: str = "aiokafka.conn") -> logging.LogRecord:
    return logging.LogRecord(name, logging.ERROR, __file__, 1, text, (), None)


def test_a_repeated_line_passes_once_in_a_while_and_says_how_many_were_held_back() -> None:
    now = [0.0]
    once = Repetitions(("aiokafka",), lambda: now[0])
    passed = [once.filter(_line(f"Connect failed after {number} ms")) for number in range(5)]
    assert passed == [True, False, False, False, False]
    assert once.filter(_line("another line"))
    now[0] = EVERY_SECONDS
    again = _line("Connect failed after 7 ms")
    assert once.filter(again)
    assert again.getMessage() == "Connect failed after 7 ms (4 more like it since the last)"


def test_lines_of_other_loggers_always_pass() -> None:
    once = Repetitions(("aiokafka",), lambda: 0.0)
    assert all(once.filter(_line("the same", "streamsplit.kafka.lane")) for _ in range(3))
