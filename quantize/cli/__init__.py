"""Head office's commands for quantizing.

main   `edgedesk quantize run | plan | compare`
"""
