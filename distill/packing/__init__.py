"""Many replies after shared articles in one training sequence.

packing  `Pack`, `pack_records`: token ids, positions and masks in each layout
forward  `forward`, `target_states`: how a model of transformers reads a pack
"""
