"""What the audit looks at: one table of checks, and who is to blame for a change.

Read in this order: check, wording, torchstate, torchsettings, seeds, numeric, registries,
interpreter, system, logs, patches, table, blame, findings.
"""
