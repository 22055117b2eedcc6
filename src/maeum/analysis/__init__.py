"""From a recording to a timeline, and its reports."""
