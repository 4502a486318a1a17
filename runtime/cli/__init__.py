"""The commands of a branch.

main               install, rollback, generations, serve, ask, doctor
spoken_question    a recording as the question of `ask`
server_or_home     a command's way to a running server, or to the home where none runs
attachments        what a picture says, before it is asked about
output             what every command writes through, and how errors end one
keys               the keys of releases
release            signed releases
update             updates and their trials
release_source     from a place that is named to what install and update read
agents             who may use the server over TCP
knowledge          compile and check articles
journal            copy, search, encrypt and prune the journal
feedback           what leaves the branch, and what head office makes of it
fleet              all branches on a page, and roll-out by rings
experiment         A/B tests
evaluate           retrieval and answers, measured
probe              whether the server answers, for containers and monitoring
doctor             what `doctor` looks at
doctor_perception  the same of pictures, speech and the microphone
"""
