"""The engine without a library: requests, scheduling, batching, the ledger of the KV cache.

    options          what an engine is opened with                     `EngineOptions`
    interface        what every engine offers                          `TextEngine`, `Vocabulary`
    generation       an answer in the making                           `Generation`, `TextPiece`, `Place`, `Stats`
    sampling_params  how tokens are chosen                             `SamplingParams`
    scheduler        the bounded queue and the computing thread        `Scheduler`, `Backend`
    batch_planner    what the next step computes, and what steps cost  `plan_step`, `StepCosts`
    request          a request, waiting and active                     `Request`, `ActiveRequest`
    composition      compiled articles on their way into a prompt      `Composition`, `KvKey`
    kv_ledger        which tokens are in memory                        `KvLedger`, `SequenceLease`
    prompt_lookup    guesses from the prompt                           `PromptLookup`
    stop_strings     ends an answer at a text                          `StopStrings`
    detokenizer      bytes to whole characters                         `Detokenizer`
    memory_capacity  how many slots fit into memory                    `fit_slots`
    crash_report     crashes by kind of work                           `CrashReport`

Knows nothing of llama.cpp, onnxruntime and processes; everything here is tried without a model.
"""
