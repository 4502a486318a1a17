"""The engine in a process of its own, because llama.cpp aborts on an assertion.

    remote_engine   the parent: requests, cancels, restarts, crash counts   `RemoteEngine`
    engine_child    one process: started, pinged, killed when it hangs      `EngineChild`, `ProcessLimits`
    engine_process  the child's own program                                 `EngineProcess`
    protocol        the messages between them                               `Connection`, `SendQueue`

Promises: whatever happens to the child, no caller waits for ever and the parent lives.
"""
