"""What each file has lost, measured on the company's own questions.

    samples           held-out replies as token ids, the measure's input
    divergence        `measure_decoders`, `DecoderMeasurement`: KL, top-1, size and speed against f32
    answer_quality    `measure_answers`: answers to held-out questions, and the layout a branch reads articles in
    corrections       `check_corrections`: what agents corrected, asked again, for the improvement receipt
    size_prediction   `predict_sizes`: file size and memory of each format from config.json alone

Knows nothing of how the files were made.
"""
