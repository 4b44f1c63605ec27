"""The boundary between application and policy code, checked in sources; nothing of them runs."""
