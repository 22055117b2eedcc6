"""Networks that FE2E, MESM and MMER are compared with."""
