"""The commands of the console.

main        `edgedesk console`
browser     the console in a browser on this machine
keys_page   prints docs/reference/keys.md
"""
