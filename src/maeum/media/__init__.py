"""Opening media files: video frames, audio, faces, speech pieces, transcripts. The only room that opens media."""
