"""Pure translation between the contract and MiniMax, and the service that joins it with the call."""
