"""Files on disk, the home of a branch, settings and progress. Knows no article and no model.

files.py           read what strangers wrote, write whole or not at all: `read_text`, `write_atomic`, `new_folder`
toml_file.py       TOML that people write: `read_toml`
head_deadline.py   how long a server may take to begin its answer: `HeadDeadline`
tls.py             whose certificates a connection believes: `trusted_certificates`
jsonl.py           rows of JSONL, checked by a model: `read_rows`, `parse_rows`, `write_rows`
validation.py      what a pydantic model refused, in one sentence: `first_problem`
manifest.py        `manifest.json` of a folder and its hashes: `Manifest`, `verify`
build_stage.py     a build step that runs once: `stage`
home.py            a branch's folder, its parts and locks: `find_home`, `lock_home`
user_cache.py      what builds keep between them: `cache_folder`
settings.py        settings of a branch: `Settings`, `load_settings`
settings_page.py   prints docs/reference/settings.md
statistics.py      standard scores, softmax, the interval of a rate
onnx_session.py    opens a model in onnxruntime, with the same options everywhere
hardware.py        processors, and the threads measured as best: `ThreadMeasurement`
memory_watch.py    the most memory a block held: `watch_memory`
collector.py       no collecting of cycles while something is loaded: `collector_paused`
child_process.py   starts a module of this project in a process of its own: `module_command`
no_network.py      takes the network away from a process for good: `deny_network`
service_manager.py tells systemd that a service is ready: `notify`
terminal.py        text that cannot steer a terminal: `printable`
progress.py        talk and bars on stderr: `say`, `bar`, `counter`, `ProgressCallback`
"""
