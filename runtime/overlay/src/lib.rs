//! Connects peers over libp2p and carries their requests.
