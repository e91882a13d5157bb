"""Musical instruments as data, and how names of terms are matched to them."""
