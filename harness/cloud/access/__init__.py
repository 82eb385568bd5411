"""Who may do what: signatures, access keys, policies. Knows no sockets and no clock of its own."""
