"""What head office ships and a branch installs: the bundle, checked, and its generations.

    bundle        `Bundle`, `BundleInfo`, `open_bundle`: the folder, its hashes compared before anything is parsed
    gguf_check    `check_gguf`: a model file's header, held to what llama.cpp can load without aborting
    gguf_header_reader  its entries, read with a bound on every count
    generations   `install`, `rollback`, `activate`, `current_bundle`: which bundle a branch runs
    store         `Store`: every file once, under its SHA-256; copies that were cut short continue
    sources       `FolderSource`, `HttpSource`: where files are read from

A signed release, the same with TUF metadata:

    release_format  parts, and what a file is called in them
    rings           which branches may take a release, as its metadata says
    trust           `verify_release`, `believing`: what a branch believes of a release
    trust_record    what it writes down of that, and the mark that it never goes behind
    releases        `install_release`, `stage_release`: from believed metadata to a generation
    update_state    `decide`: the steps of an update, pure
    updater         `update`: carries them out
    update_window   when and how fast a branch may copy
    keys            `KeyFolder`, `make_keys`: head office's keys
    token_keys      keys that an HSM or a security key holds
    publish         `publish`: writes a signed release
    oci_layout      a release as an OCI artifact in the layout of CNCF ModelPack
    oci_registry    `Registry`: blobs and manifests of a registry
    oci_source      `OciSource`, `push_release`: a release in a registry, read and pushed
    release_parts   what goes into the parts
    release_documents  model card with front matter, CycloneDX bill of materials
    gate_record     `require_passed`: whether a build passed its gate

Knows nothing of what a branch does with a bundle.
"""
