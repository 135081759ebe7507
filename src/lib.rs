//! dm-psa: the library behind `dm-psad`, `psactl` and `dm-psa-id`.
