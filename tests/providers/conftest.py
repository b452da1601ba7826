from tests.support.servers import connect, server  # noqa: F401 (fixtures)
