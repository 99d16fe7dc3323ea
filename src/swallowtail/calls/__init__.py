"""The typed messages between Link and Cloud: their only contract.

A call is a name, a first message that travels in OPEN, and what may follow on the channel. Structs
are frozen and travel as MessagePack maps; a reader ignores keys that it does not have, so that
either side may be a release ahead.

    store        Link → Cloud   StoreRequest, data set, TransferEnd     → Committed | NotStored
    configure    Cloud → Link   Configure            → Applied | ConfigurationRefused
    report       Link → Cloud   Report (a batch of observations)                 → Noted
    deliver      Cloud → Link   DeliverRequest, TransferEnd   → Delivered | NotDelivered
    check        Cloud → Link   CheckRequest                                         → Checked
    ping         Cloud → Link   Ping                                                 → Pong
    status       Cloud → Link   StatusQuery                                          → LinkStatus
"""
