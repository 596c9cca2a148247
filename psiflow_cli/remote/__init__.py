"""A command whose site is on another machine: files go there and come back by rsync, and it runs there over ssh.

The machine that the user sits at has `client` and what it imports; the other one, the far end, `agent` and `keeper`. No
process stays there but the command itself and the one that waits for its end.
"""
