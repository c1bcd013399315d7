from . import (
    ablated as ablated,
)
from . import (
    composition as composition,
)
from . import (
    constructions as constructions,
)
from . import (
    cosets as cosets,
)
from . import (
    explained as explained,
)
from . import (
    irreps as irreps,
)
from . import (
    young as young,
)
from .composition import (
    KEY as KEY,
)
from .composition import (
    activations as activations,
)
from .composition import (
    element_fve as element_fve,
)
from .composition import (
    formation as formation,
)
from .composition import (
    hidden_fve as hidden_fve,
)
from .composition import (
    hidden_losses as hidden_losses,
)
from .composition import (
    key_representations as key_representations,
)
from .composition import (
    learned as learned,
)
from .composition import (
    logit_fve as logit_fve,
)
from .composition import (
    logit_losses as logit_losses,
)
from .composition import (
    logit_similarity as logit_similarity,
)
from .composition import (
    measure as measure,
)
from .composition import (
    order_learned as order_learned,
)
from .composition import (
    read_out as read_out,
)
from .composition import (
    report as report,
)
from .composition import (
    tables as tables,
)
