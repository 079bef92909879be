"""The claims: statement, assumptions, check, controls and picture of each."""
