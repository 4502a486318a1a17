"""Head office's commands for quantizing.

    main   `edgedesk quantize run | plan | compare`

Knows nothing that the other rooms do not.
"""
