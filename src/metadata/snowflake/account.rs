//! The account's identifier, in every form in which people have it at hand.
