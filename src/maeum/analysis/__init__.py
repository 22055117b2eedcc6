"""From a user's recording to a timeline of emotions, and from there to files, pages and the terminal."""
