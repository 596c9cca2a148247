"""What each command does, in its own process: a room per command or family of commands; no click or Parsl."""
