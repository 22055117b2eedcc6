"""Opening media files: video frames, audio, faces, mel chunks, transcripts. The only room that opens media."""
