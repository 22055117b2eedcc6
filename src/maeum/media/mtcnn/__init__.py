"""The face detector MTCNN (Zhang et al. 2016): its networks and what makes them quick."""
