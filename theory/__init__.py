"""The mathematics of SMaRt: exact laws, exact scores, claims that can fail. Nothing is trained here."""
