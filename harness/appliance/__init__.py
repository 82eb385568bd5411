"""The appliance as programs over effects. Pure: no clock, no sockets, no randomness, no asyncio."""
