"""What the publications claim, tried on phantoms: paired arms, several seeds, intervals.

The register is data: one TOML document per claim in ``documents``, laid over ``common.toml``. An
arm is a graph of stages as a recipe's; arms share the stages that are equal in both.
"""

from flare_train.claims.register import Arm, Claim, Comparison, claim_ids, read_claim
from flare_train.claims.runner import run_claims

__all__ = ["Arm", "Claim", "Comparison", "claim_ids", "read_claim", "run_claims"]
