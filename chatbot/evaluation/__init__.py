"""``healthfaq eval``: how good the bot is on a clinic's own knowledge, with an interval on every rate."""
