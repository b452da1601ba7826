"""The configuration: where it lives, what it may hold, how it is read, followed and saved.

Import from the modules; nothing heavy is imported here (`peek` must stay light).
"""
