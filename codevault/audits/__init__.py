"""What the audit looks at, and who is to blame for a change.

Read in this order: check, wording, then the checks: torchstate, libraries, seeds, registries,
interpreter, system, logs, patches; then blame, findings.
"""
