// SPDX-License-Identifier: GPL-2.0

//! The Sheepdog wire protocol, version 2.
