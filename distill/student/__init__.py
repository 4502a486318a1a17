"""A student made smaller than its teacher, then taught.

depth_pruning   `block_influence`, `prune_depth`: drop whole layers
width_pruning   `activation_importance`, `prune_width`: drop heads and feed-forward units
hooked_run      `run_hooked`: read packs with hooks, for both kinds of pruning
layer_refit     `refit_layers`: least squares in place of training after pruning
losses          `LOSSES`: divergences over a teacher's top-k tokens
training        `distill`, `tune`: what is learned
pack_trainer    `train_on_packs`: how packs are run through a model that learns
merge_lora      `merge_adapters`, `save_checkpoint`: one checkpoint, proven equal
divergence      `measure_divergence`: KL and top-1 to the teacher on held-out replies
"""
