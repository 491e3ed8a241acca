// @ts-check
/** The pages of words only. */

import { wireTheme } from "./common.js";

wireTheme();
