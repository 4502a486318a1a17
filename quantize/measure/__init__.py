"""What each file has lost, measured on the company's own questions.

    samples           held-out replies as token ids, the measure's input
    divergence        `measure_decoders`, `DecoderMeasurement`: KL, top-1, size and speed against f32
    answer_quality    `measure_answers`: answers to held-out questions, and the layout a branch reads articles in
    corrections       `check_corrections`: what agents corrected, asked again, for the improvement receipt
    speed             `measure_speed`: reading, writing, first word and memory of a file, by threads, in a child
    quality_plot      `draw`: KL against the wait for the first word, with the Pareto line
    choice            `choose`: the best of the measured files for a branch
    trial_model       `write_trial`: a few random layers in a format's types, to time a machine with
    wait_prediction   `predict_wait`: the wait for the first word, from shapes and those layers
    size_prediction   `predict_sizes`: file size and memory of each format from config.json alone
    speed_prediction  `predict_tokens_per_s`: how fast a model writes where another was measured

Knows nothing of how the files were made.
"""
