"""A server in memory, for tests, pictures and benchmarks; held to the real one by a contract test.

fake_server    answers from a script, event by event: `FakeServer`, `answer`, `citation`
fake_journal   its conversations, under the real server's paths and shapes: `FakeJournal`
"""
