"""The shared-table variant of the exchange (数据共享型接口, 2.2): tables that a HIS and the front-end both use."""
